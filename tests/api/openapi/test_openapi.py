"""`/openapi.json` is true: good and bad requests made from it get the answers that it documents."""

from collections import Counter
from collections.abc import Iterator

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import TestPhase
from schemathesis.transport.requests import ManagedCookiesSession

from gifster.api.openapi import document
from tests import images
from tests.machine import ALL_EXAMPLES, examples
from tests.stack import Stack

WEB: dict[str, str] = {}

GIF = images.gif()
schemathesis.openapi.format("binary", strategies.sampled_from([GIF, GIF[:100], b""]))

#: It is read when a test runs, because it takes a second.
schema = schemathesis.pytest.from_fixture("described")


@pytest.fixture(scope="module")
def described() -> schemathesis.schemas.BaseSchema:
    read = schemathesis.openapi.from_dict(document())
    read.config.generation.update(modes=list(GenerationMode))
    # A text that is too long may make its body too large, which is noticed first.
    refusals = read.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]
    return read


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest) -> None:
    """Schemathesis 4.32 reads the name from where pytest 9.2 no longer keeps it."""
    request.node._nodeid = request.node.nodeid


def test_the_document_is_served(web: Stack):
    assert web.client.get("/openapi.json").json() == document()


def test_the_document_tells_of_answers_that_are_no_json_and_of_members():
    paths = document()["paths"]
    assert list(paths["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    assert "401" in paths["/openapi.json"]["get"]["responses"]
    assert "`unreadable`" in document()["components"]["responses"]["Problem503"]["description"]


@pytest.fixture(scope="module")
def admin(web: Stack) -> dict[str, str]:
    """The headers of an admin."""
    body = {"email": "admin@example.org", "password": "correct horse"}
    token = web.client.post("/api/users", json=body).json()["token"]
    assert web.run("gifster", "admins", "add", body["email"]).returncode == 0
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Keeps a connection open for the next case, but no cookies."""
    with ManagedCookiesSession() as kept:
        yield kept


FOR_ADMINS = ("/api/jobs", "/api/queues", "/api/workers", "/api/stats")


settings = hypothesis.settings(
    max_examples=examples(4, of=30),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.mark.long
@schema.include(method="GET").parametrize()
@settings
def test_answers_are_as_documented(
    case: schemathesis.Case, web: Stack, admin: dict[str, str], session: requests.Session
):
    check(case, web, admin, session)


@pytest.mark.long
@schema.exclude(method="GET").parametrize()
@settings
def test_answers_to_changes_are_as_documented(
    case: schemathesis.Case, web: Stack, admin: dict[str, str], session: requests.Session
):
    check(case, web, admin, session)


#: Of the cases that a schema defines, which are 1,800, one of so many is tried every day.
EVERY = 20
_seen: Counter[tuple[str, str, GenerationMode]] = Counter()


def left_to_ci(case: schemathesis.Case) -> bool:
    """Whether only CI tries a case: all but one of twenty good ones of an operation that its schema
    defines, and of twenty bad ones."""
    if ALL_EXAMPLES or case.meta is None or case.meta.phase.name is not TestPhase.COVERAGE:
        return False
    kind = case.method, case.path, case.meta.generation.mode
    _seen[kind] += 1
    return _seen[kind] % EVERY != 1


def check(
    case: schemathesis.Case, web: Stack, admin: dict[str, str], session: requests.Session
) -> None:
    if left_to_ci(case):
        return
    # No schema says which texts are cursors of ours, and which URLs lead to an image.
    excluded = ["positive_data_acceptance"]
    if case.path.startswith("/api/uploads"):
        # The methods of tus are in its own specification.
        excluded += ["unsupported_method", "allow_header_conformance"]
    form = case.media_type == "multipart/form-data"
    for_admins = case.path.startswith(FOR_ADMINS)
    # Logging out everywhere would revoke the token of the other requests.
    logged_in = for_admins or (case.path == "/api/tokens" and case.method != "DELETE")
    if form or logged_in:
        # And a list of texts, which no title can be, becomes several fields `title`, or none, in a
        # form.
        excluded.append("negative_data_rejection")
    case.call_and_validate(
        base_url=str(web.client.base_url),
        session=session,
        # In case the bad part of the request was the token, it is put back.
        headers=admin if logged_in else None,
        excluded_checks=CHECKS.get_by_names(excluded),
    )
