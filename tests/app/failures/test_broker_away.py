"""A broker that is away: what is uploaded meanwhile is stored when it is back."""

from collections.abc import Callable

from tests import images
from tests.stack import Stack


def test_an_upload_without_broker_or_worker_is_accepted_and_stored_later(
    new_stack: Callable[..., Stack],
):
    # Given a web server whose broker is away
    stack = new_stack()
    broker = stack.environment["GIFSTER_BROKER__URL"]
    stack.environment["GIFSTER_BROKER__URL"] = "redis://127.0.0.1:1/0"
    stack.start_web()

    # When I upload
    answer = stack.upload(images.gif())
    assert answer.status_code == 202
    assert stack.client.get("/readyz").json()["checks"]["database"] == "ok"
    assert stack.client.get("/readyz").json()["checks"]["broker"] != "ok"

    # I expect it to be stored when there are a broker, a scheduler and a worker
    stack.environment["GIFSTER_BROKER__URL"] = broker
    stack.start_worker()
    stack.start("gifster", "scheduler")
    assert stack.finished(answer.json()["id"])["state"] == "ready"
