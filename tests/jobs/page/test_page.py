"""The jobs' page as a stranger's application mounts it: what it shows, and what its buttons do."""

import sys
import time
from collections.abc import Callable
from subprocess import run
from typing import Any

import httpx
import pytest

from gifster import jobs
from gifster.jobs import Job
from tests.jobs.page.mounted import HOST, PAGE, add, states


@pytest.fixture
def client(mount: Callable[..., httpx.Client]) -> httpx.Client:
    """A client of somebody who may do everything."""
    return mount(site="Shop", home_url="/admin", login_url="/login")


def press(client: httpx.Client, **fields: Any) -> httpx.Response:
    """What the page shows after a button."""
    headers = {"Origin": HOST}
    done = client.post(PAGE, data=fields, headers=headers, follow_redirects=False)
    assert done.status_code == 303, done.text
    return client.get(PAGE + done.headers["location"].removeprefix("./"))


def test_the_page_shows_jobs_in_all_states(client: httpx.Client):
    add("greet", "<b>Ann</b>")
    add("later", in_s=3600)
    add("charge", 7, dead="no order <i>7</i>")

    shown = client.get(PAGE)

    assert shown.status_code == 200
    assert "<title>Jobs · Shop</title>" in shown.text
    assert "greet<small>(<bdi>&#34;&lt;b&gt;Ann&lt;/b&gt;&#34;</bdi>)" in shown.text
    assert "no order &lt;i&gt;7&lt;/i&gt;" in shown.text
    assert '<a class="brand" href="/admin">Shop</a>' in shown.text
    assert "No worker is running, so jobs wait." in shown.text
    assert "Gifster" not in shown.text


def test_a_job_that_is_damaged_is_shown_too(client: httpx.Client):
    job_id = add(dead="x")
    with Job._meta.database.connection_context():
        arguments = Job.arguments.cast("TEXT").concat("damaged")
        Job.update(error=None, traceback=None, arguments=arguments).execute()

    for query in ("", "?state=dead"):
        shown = client.get(PAGE + query)
        assert (shown.status_code, job_id in shown.text) == (200, True)


def test_an_argument_that_no_encoding_knows_is_shown(client: httpx.Client):
    add("greet", "b\udcfc.gif")  # as `os.fsdecode()` returns the name of a file

    for path in ("", "?state=waiting"):
        shown = client.get(PAGE + path)
        assert shown.status_code == 200
        assert "b\\udcfc.gif" in shown.text


def test_a_button_retries_and_deletes_a_job(client: httpx.Client):
    retried, deleted = add(dead="x"), add(dead="x")

    assert "The job was sent to the workers." in press(client, do="retry", of=retried).text
    assert "The job was deleted." in press(client, do="delete", of=deleted).text

    assert states() == {retried: "waiting"}


def test_the_chosen_jobs_are_retried_and_deleted(client: httpx.Client):
    ids = [add(dead="x") for _ in range(4)]

    answer = press(client, do="retry_chosen", of=[*ids[:2], "gone"], state="dead")
    assert "The chosen jobs were sent to the workers." in answer.text
    press(client, do="delete_chosen", of=[ids[2]], state="dead")

    left = states()
    assert [left.get(job_id) for job_id in ids] == ["waiting", "waiting", None, "dead"]
    nothing = client.post(PAGE, data={"do": "retry_chosen"})
    assert nothing.status_code == 422
    assert "No job is chosen" in nothing.text


@pytest.mark.parametrize("state", ["waiting", "scheduled", "retrying", "dead"])
def test_jobs_in_every_state_but_running_are_deleted(client: httpx.Client, state: str):
    ids = [add("greet", number, queue="mails") for number in range(4)] + [add("greet", 7)]
    now = time.time()
    with Job._meta.database.connection_context():
        changes = {
            "scheduled": {"due_at": now + 60},
            "retrying": {"due_at": now + 60, "attempts": 1},
        }
        changes |= {"dead": {"failed_at": now}}
        Job.update(**changes.get(state, {"error": None})).execute()
    shown = client.get(f"{PAGE}?state={state}").text
    assert all(
        f'id="delete-{job_id}"' in shown and f'id="choose-{job_id}"' in shown for job_id in ids
    )

    press(client, do="delete", of=ids[0], state=state)
    press(client, do="delete_chosen", of=ids[1:3], state=state)
    assert set(states()) == set(ids[3:])
    answer = press(client, do="delete_all", state=state, queue="mails")

    assert f"The {state} jobs of this list were deleted." in answer.text
    assert states() == {ids[4]: state}


def test_the_page_asks_before_it_deletes(client: httpx.Client):
    ids = [add("greet", number) for number in range(3)]
    with Job._meta.database.connection_context():
        Job.update(queue="a&b").execute()  # as a former release took it

    def asked(**fields: Any) -> str:
        answer = client.post(PAGE, data=fields, headers={"Origin": HOST})
        assert answer.status_code == 200
        return answer.text

    clear = asked(do="ask_delete_all", state="waiting", queue="a&b")
    assert "<h1>Delete all waiting jobs of the queue a&amp;b?</h1>" in clear
    assert "<p>3 jobs." in clear
    assert '<a href="./?state=waiting&amp;queue=a%26b">Keep them</a>' in clear
    assert '<input type="hidden" name="queue" value="a&amp;b">' in clear
    assert 'name="do" value="delete_all"' in clear
    chosen = asked(do="ask_delete_chosen", state="waiting", of=ids[:2])
    assert all(f'name="of" value="{job_id}"' in chosen for job_id in ids[:2])
    assert "<b>greet</b> in the queue a&amp;b" in asked(do="ask_delete", of=ids[0])
    assert len(states()) == 3

    for fields, status in [
        ({"do": "ask_delete", "of": "none"}, 404),
        ({"do": "ask_delete_chosen"}, 422),
        ({"do": "ask_delete_all", "state": "running"}, 400),
        ({"do": "delete_all", "state": "running"}, 400),
        ({"do": "ask_retry", "of": ids[0]}, 422),
    ]:
        assert client.post(PAGE, data=fields).status_code == status, fields
    assert (
        client.post(
            PAGE, data={"do": "ask_delete", "of": ids[0]}, headers={"Origin": "http://evil.example"}
        ).status_code
        == 403
    )


def test_a_list_is_filtered_by_queue_and_text(client: httpx.Client):
    found = add("charge", "Zoë", queue="money", dead="the card 50%_off")
    other = add("charge", "Zoe", queue="money", dead="no money")
    elsewhere = add("greet", "Zoë", dead="no mail")

    for query, ids in [
        ("q=Zoë", {found, elsewhere}),
        ("q=50%25_OFF", {found}),
        ("q=50_%25", set()),
        ("queue=money", {found, other}),
        ("queue=money&q=zo", {found, other}),
        (f"q={other}", {other}),
        ("queue=none", set()),
    ]:
        shown = client.get(f"{PAGE}?state=dead&{query}").text
        assert {job_id for job_id in (found, other, elsewhere) if job_id in shown} == ids, query

    # A button of the filtered list changes no other job, and leads back to it
    answer = press(client, do="delete_all", state="dead", queue="money", q="zo")
    assert "The dead jobs of this list were deleted." in answer.text
    assert 'name="q" maxlength="200" value="zo"' in answer.text
    assert states() == {elsewhere: "dead"}


def test_a_list_comes_in_pages(client: httpx.Client):
    ids = {add("charge", number, dead="x") for number in range(60)}

    first = client.get(f"{PAGE}?state=dead&q=charge").text
    more = first.partition('<p class="more"><a href="')[2].partition('"')[0]
    second = client.get(PAGE + more.removeprefix("./").replace("&amp;", "&")).text

    on_first = {job_id for job_id in ids if job_id in first}
    assert len(on_first) == 50
    assert {job_id for job_id in ids if job_id in second} == ids - on_first


def test_queues_are_paused_and_show_throttled_jobs(client: httpx.Client):
    add("greet")
    for _ in range(20):
        add("greet", group="ann", queue="mails")

    assert "The queue is paused" in press(client, do="pause", of="mails").text
    shown = client.get(PAGE).text
    assert '<span class="mark">paused</span>' in shown
    assert "20 <small>4 throttled</small>" in shown
    waiting = client.get(f"{PAGE}?state=waiting&queue=mails").text
    assert waiting.count(">throttled</span>") == 4
    assert "group ann" in waiting
    press(client, do="resume", of="mails")
    with Job._meta.database.connection_context():
        assert jobs.paused_queues() == set()


def test_workers_are_quiet_and_awake(client: httpx.Client):
    with Job._meta.database.connection_context():
        jobs.Worker.insert(
            id="shop:1:x", host="shop", pid=1, threads=8, queues="default", started_at=time.time(),
            seen_at=time.time(),
        ).execute()  # fmt: skip

    assert "takes no new ones" in press(client, do="quiet", of="shop:1:x").text
    assert '<span class="mark">quiet</span>' in client.get(PAGE).text
    press(client, do="wake", of="shop:1:x")
    assert '<span class="mark">quiet</span>' not in client.get(PAGE).text


def test_without_jinja2_the_error_names_the_extra():
    code = "import sys; sys.modules['jinja2'] = None; import gifster.jobs.page"

    result = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "ModuleNotFoundError: the jobs' page needs Jinja2" in result.stderr
    assert "pip install 'gifster[jobs-page]'" in result.stderr
