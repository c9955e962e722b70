"""`/openapi.json` is true: good and bad requests made from it get the answers that it documents."""

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from gifster.api.openapi import document
from tests import images
from tests.machine import examples
from tests.stack import Stack

WEB: dict[str, str] = {}

GIF = images.gif()
schemathesis.openapi.format("binary", strategies.sampled_from([GIF, GIF[:100], b""]))

schema = schemathesis.openapi.from_dict(document())
schema.config.generation.update(modes=list(GenerationMode))
# A text that is too long may make its body too large, which is noticed first.
refusals = schema.config.checks.negative_data_rejection
refusals.expected_statuses = [*refusals.expected_statuses, "413"]

#: No schema says which texts are cursors of ours, and which URLs lead to an image.
BEYOND_SCHEMAS = CHECKS.get_by_names(["positive_data_acceptance"])
#: And a list of texts, which no title can be, becomes several fields `title`, or none, in a form.
BEYOND_FORMS = BEYOND_SCHEMAS + CHECKS.get_by_names(["negative_data_rejection"])


def test_the_document_is_served(web: Stack):
    assert web.client.get("/openapi.json").json() == document()


@pytest.fixture(scope="module")
def admin(web: Stack) -> dict[str, str]:
    """The headers of an admin."""
    body = {"email": "admin@example.org", "password": "correct horse"}
    token = web.client.post("/api/users", json=body).json()["token"]
    assert web.run("gifster", "admins", "add", body["email"]).returncode == 0
    return {"Authorization": f"Bearer {token}"}


FOR_ADMINS = ("/api/jobs", "/api/queues", "/api/workers", "/api/stats")


@schema.parametrize()
@hypothesis.settings(
    max_examples=examples(20, of=60),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_answers_are_as_documented(case: schemathesis.Case, web: Stack, admin: dict[str, str]):
    form = case.media_type == "multipart/form-data"
    for_admins = case.path.startswith(FOR_ADMINS)
    # Logging out everywhere would revoke the token of the other requests.
    logged_in = for_admins or (case.path == "/api/tokens" and case.method != "DELETE")
    case.call_and_validate(
        base_url=str(web.client.base_url),
        # In case the bad part of the request was the token, it is put back.
        headers=admin if logged_in else None,
        excluded_checks=BEYOND_FORMS if form or logged_in else BEYOND_SCHEMAS,
    )
