"""Gifster on RabbitMQ: a real server, where Debian's `rabbitmq-server` is installed."""

import os
import signal
from collections.abc import Callable

import pytest

from tests import images
from tests.combinations import only_in_ci
from tests.machine import children, eventually
from tests.stack import Stack


@pytest.mark.long
@only_in_ci("a large picture on one more broker")
def test_uploads_are_stored_and_one_of_a_killed_worker_too(
    rabbitmq: str, new_stack: Callable[..., Stack]
):
    # Given a stack on RabbitMQ
    stack = new_stack(GIFSTER_BROKER__URL=rabbitmq, GIFSTER_WORKER__LEASE_S="2")
    stack.start_web()
    stack.start("gifster", "scheduler")
    main = stack.start_worker()
    assert stack.finished(stack.upload(images.gif()).json()["id"])["state"] == "ready"
    checked = stack.run("gifster", "doctor").stdout
    assert "PONG" in checked

    # When its worker is killed in the middle of an upload
    gif_id = stack.upload(images.noisy_gif((900, 700), 40)).json()["id"]
    eventually(lambda: stack.gif(gif_id)["state"] == "processing")
    for pid in (*children(main.pid), main.pid):
        os.kill(pid, signal.SIGKILL)

    # I expect another worker to run it, once
    stack.start_worker()
    assert stack.finished(gif_id)["state"] == "ready"
    assert stack.run("gifster", "jobs", "list").stdout.strip() == "no jobs: everything is done"
