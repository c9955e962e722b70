"""Moderation by HTTP and on pages: every route of it, asked by every role."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import falcon.inspect
import pytest

from gifster.api.app import create_app
from gifster.app import tokens
from gifster.app.models import Gif, User
from gifster.app.moderation.log import ModerationEntry
from gifster.app.moderation.reports import Report
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.clients import Client
from tests.api.stored_gifs import NOBODY, stored_gif
from tests.app.people import person

HTML = {"Accept": "text/html"}


@dataclass
class Library:
    app: Any
    people: dict[str, Client]
    users: dict[str, User]
    gif: Gif

    def hidden(self) -> bool:
        return Gif.get_by_id(self.gif.id).hidden_from is not None


@pytest.fixture
def it(booted: Settings) -> Iterator[Library]:
    """Ann's GIF; Bob; Mo, who moderates; Root, who is an admin."""
    limits = booted.limits.model_copy(update={"enabled": False})
    app = create_app(booted.model_copy(update={"limits": limits}))
    users = {
        "ann": person("ann"),
        "bob": person("bob"),
        "mo": person("mo", is_moderator=True),
        "root": person("root", is_admin=True),
    }

    def bearer(name: str, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.create_token(users[name], 't', scope)[1]}"}

    def browser(name: str) -> dict[str, str]:
        return {"Cookie": f"gifster_session={tokens.start_session(users[name], 1)}"}

    headers = {
        "stranger": {},
        **{name: browser(name) for name in users},
        **{f"{name}'s token": bearer(name, Scope.ADMIN) for name in users},
        **{f"{name}'s writing token": bearer(name, Scope.WRITE) for name in ("mo", "root")},
    }
    with asyncio.Runner() as runner:
        people = {name: Client(app, runner.get_loop(), sent) for name, sent in headers.items()}
        yield Library(app, people, users, stored_gif(users["ann"], "Needle", ["haystack"]))


#: Who may use what. Each route of moderation is in one of these.
OF_MODERATORS = {
    ("POST", "/api/gifs/{gif_id}/moderation"), ("GET", "/api/reports"),
    ("PATCH", "/api/reports/{report_id}"), ("GET", "/api/moderation/hidden"),
    ("POST", "/gifs/{gif_id}/moderate"), ("GET", "/moderation"), ("POST", "/moderation"),
    ("GET", "/moderation/hidden"),
}  # fmt: skip
OF_ADMINS = {("GET", "/api/moderation/log"), ("GET", "/moderation/log")}
OF_ALL = {
    ("POST", "/api/gifs/{gif_id}/reports"), ("GET", "/gifs/{gif_id}/report"),
    ("POST", "/gifs/{gif_id}/report"),
}  # fmt: skip
MODERATORS, ADMINS = {"mo", "mo's token"}, {"root", "root's token"}


def test_each_route_is_for_its_roles(it: Library):
    Report.create(id="r" * 12, gif=it.gif, reason="spam")
    routes = {
        (method.method, route.path)
        for route in falcon.inspect.inspect_routes(it.app)
        if re.search("moderat|report", route.path)
        for method in route.methods
        if not method.internal and method.method != "HEAD"
    }
    assert routes == OF_MODERATORS | OF_ADMINS | OF_ALL

    for method, path in sorted(routes):
        # Nothing is complete, so that nothing changes
        url = path.format(gif_id=it.gif.id, report_id="r" * 12)
        sent = {} if method == "GET" else {"json": {}} if "/api/" in path else {"data": {"x": "y"}}
        for name, client in it.people.items():
            allowed = (
                (method, path) in OF_ALL
                or name in ADMINS
                or (name in MODERATORS and (method, path) in OF_MODERATORS)
            )
            answer = client(method, url, **sent)
            expected = {200, 422} if allowed else {401} if name == "stranger" else {403}
            assert answer.status_code in expected, (name, method, path, answer.text)
            if not allowed:
                code = answer.json()["code"]
                assert code in {
                    "sign_in_first", "moderators_only", "admins_only", "scope_insufficient",
                }, (name, method, path)  # fmt: skip
                page = client(method, url, headers=HTML, **sent)
                if "/api/" not in path:
                    assert "Bearer" not in page.text, (name, path)
                    assert "gifster moderation" not in page.text, (name, path)
    assert ModerationEntry.select().count() == 0


def test_a_report_leads_to_a_hidden_gif(it: Library):
    # Given a reader without an account, who reports a GIF
    stranger, mo, ann = it.people["stranger"], it.people["mo"], it.people["ann"]
    page = stranger("GET", f"/gifs/{it.gif.id}", headers=HTML).text
    assert f'href="/gifs/{it.gif.id}/report"' in page
    form = stranger("GET", f"/gifs/{it.gif.id}/report", headers=HTML).text
    assert f'action="/gifs/{it.gif.id}/report"' in form
    sent = {"reason": "rights", "text": "<b>That</b> is me"}
    thanks = stranger("POST", f"/gifs/{it.gif.id}/report", data=sent, headers=HTML)
    assert (thanks.status_code, "Thank you" in thanks.text) == (200, True)
    wrong = stranger("POST", f"/gifs/{it.gif.id}/report", data={"text": "x"}, headers=HTML)
    assert wrong.status_code == 422
    assert 'role="alert"' in wrong.text

    # When a moderator looks at the reports, and hides it
    listed = mo("GET", "/moderation", headers=HTML).text
    assert "&lt;b&gt;That&lt;/b&gt; is me" in listed
    assert "without an account" in listed
    (report,) = mo("GET", "/api/reports").json()["items"]
    assert (report["gif"], report["reason"]) == ({"id": it.gif.id, "title": "Needle"}, "rights")
    at = f"/gifs/{it.gif.id}/moderate"
    assert mo("POST", at, data={"action": "hide", "reason": "She asks"}).status_code == 303

    # I expect it to be gone for strangers, and its owner to read why
    assert it.hidden()
    assert stranger("GET", f"/gifs/{it.gif.id}").status_code == 404
    stored = Gif.get_by_id(it.gif.id).image.stored
    assert stranger("GET", stored.url()).status_code == 404
    for client in (mo, ann):
        page = client("GET", f"/gifs/{it.gif.id}", headers=HTML).text
        assert "A moderator has hidden this GIF" in page
        assert "She asks" in page
        assert client("GET", stored.url()).headers["cache-control"] == "private, no-cache"
        assert client("GET", f"/api/gifs/{it.gif.id}").json()["hidden"] is True
    assert mo("GET", "/api/reports").json()["items"] == []
    page = mo("GET", "/moderation/hidden", headers=HTML).text
    assert "Needle" in page
    assert re.search("Hidden by <bdi>mo</bdi>, <time [^>]*>[^<]* UTC</time>: .*She asks", page)
    assert "uploaded by <bdi>ann</bdi>" in page
    items = mo("GET", "/api/moderation/hidden").json()["items"]
    assert [gif["id"] for gif in items] == [it.gif.id]

    # And the log has it, for admins
    log = it.people["root"]("GET", "/api/moderation/log").json()["items"]
    assert [entry["action"] for entry in log] == ["resolve", "hide"]
    assert log[1]["moderator"] == {"id": it.users["mo"].id, "name": "mo"}
    shown = it.people["root"]("GET", f"/moderation/log?gif={it.gif.id}", headers=HTML).text
    assert "She asks" in shown
    # In a narrow window, each cell says which column it is
    labels = re.findall('role="cell" data-label="([^"]*)"', shown)
    assert labels == ["When (UTC)", "Who", "Action", "Subject", "Reason", "Changes"] * 2


def test_moderators_act_by_the_api(it: Library):
    mo = it.people["mo's token"]
    path = f"/api/gifs/{it.gif.id}/moderation"

    for sent, code in [
        ({"action": "hide"}, "reason_missing"),
        ({"action": "hide", "reason": " "}, "reason_missing"),
        ({"action": "ban", "reason": "x"}, "action_invalid"),
        ({"action": "hide", "reason": 1}, "reason_invalid"),
        ({"action": "hide", "reason": "x", "by": "root"}, "field_unknown"),
        ({"action": "hide", "reason": "a" * 1001}, "reason_too_long"),
    ]:
        answer = mo("POST", path, json=sent)
        assert (answer.status_code, answer.json()["code"]) == (422, code), sent
    assert not it.hidden()
    removed = mo("POST", path, json={"action": "remove", "reason": "spam"}).json()
    assert (removed["visibility"], removed["hidden"]) == ("private", True)
    assert removed["trashed_at"] is not None
    back = mo("POST", path, json={"action": "restore", "reason": "it was none"}).json()
    assert (back["visibility"], back["hidden"], back["trashed_at"]) == ("public", False, None)
    again = mo("POST", path, json={"action": "unhide", "reason": "it was none"})
    assert (again.status_code, again.json()["code"]) == (409, "not_hidden")
    missing = mo("POST", f"/api/gifs/{NOBODY}/moderation", json={"action": "hide", "reason": "x"})
    assert missing.json()["code"] == "gif_not_found"


def test_other_changes_take_a_reason_too(it: Library):
    mo, path = it.people["mo's token"], f"/api/gifs/{it.gif.id}"

    for method, url, sent in [
        ("PATCH", path, {"json": {"title": "x"}}),
        ("POST", f"{path}/trash", {}),
        ("POST", f"/gifs/{it.gif.id}/delete", {}),
        ("POST", f"/gifs/{it.gif.id}/trash", {}),
        ("DELETE", path, {}),
    ]:
        refused = mo(method, url, **sent)
        assert (refused.status_code, refused.json()["code"]) == (422, "reason_missing"), url
    assert mo("PATCH", f"{path}?reason=typo", json={"title": "x"}).json()["title"] == "x"
    assert mo("POST", f"{path}/trash?reason=spam").status_code == 200
    assert mo("POST", f"{path}/restore?reason=no%20spam").status_code == 200
    form = {"title": "y", "tags": "", "alt_text": "", "rating": "g", "visibility": "public"}
    page = it.people["mo"]
    refused = page("POST", f"/gifs/{it.gif.id}/details", data=form, headers=HTML)
    assert refused.status_code == 422
    assert "Give a reason" in refused.text
    saved = page("POST", f"/gifs/{it.gif.id}/details", data=form | {"reason": "typo"})
    assert saved.status_code == 303
    assert mo("DELETE", f"{path}?reason=spam").status_code == 204
    log = it.people["root"]("GET", "/api/moderation/log").json()["items"]
    assert [(one["action"], one["reason"]) for one in log] == [
        ("delete", "spam"), ("edit", "typo"), ("restore", "no spam"), ("trash", "spam"),
        ("edit", "typo"),
    ]  # fmt: skip


def test_the_page_of_a_gif_has_the_forms_that_its_reader_may_send(it: Library):
    def forms(name: str) -> set[str]:
        page = it.people[name]("GET", f"/gifs/{it.gif.id}", headers=HTML).text
        return set(re.findall(rf'action="/gifs/{it.gif.id}/(\w+)"', page))

    edits = {"details", "image", "edit"}
    theirs = {"favourite", "collect"}
    assert forms("stranger") == set()
    assert forms("bob") == theirs
    assert forms("ann") == theirs | edits | {"trash"}
    assert forms("mo") == theirs | edits | {"moderate"}
    assert forms("root") == theirs | edits | {"trash", "moderate"}
    it.people["mo"]("POST", f"/gifs/{it.gif.id}/moderate", data={"action": "remove", "reason": "x"})
    assert forms("ann") == edits | {"delete"}
    assert "moderate" in forms("mo")
    assert (
        '<option value="private"'
        not in it.people["mo"]("GET", f"/gifs/{it.gif.id}", headers=HTML).text
    )


def test_a_gif_that_its_owner_made_private_is_not_shown_by_its_reports(it: Library):
    it.people["bob"]("POST", f"/api/gifs/{it.gif.id}/reports", json={"reason": "spam"})
    change = {"visibility": "private"}
    assert it.people["ann"]("PATCH", f"/api/gifs/{it.gif.id}", json=change).status_code == 200

    for path in ("/moderation", "/api/reports", "/moderation/hidden", "/api/moderation/hidden"):
        text = it.people["mo"]("GET", path, headers=HTML).text
        assert "Needle" not in text, path
        assert it.gif.sha256 not in text
    # It can be closed all the same
    (report,) = it.people["mo"]("GET", "/api/reports").json()["items"]
    assert report["gif"] is None
    closed = it.people["mo"]("PATCH", f"/api/reports/{report['id']}", json={"verdict": "dismissed"})
    assert closed.json()["verdict"] == "dismissed"
    twice = it.people["root"]("PATCH", f"/api/reports/{report['id']}", json={"verdict": "resolved"})
    assert (twice.status_code, twice.json()["code"]) == (409, "report_closed")


def test_somebody_who_is_no_moderator_any_more_moderates_nothing(it: Library):
    path, sent = f"/api/gifs/{it.gif.id}/moderation", {"action": "hide", "reason": "x"}
    User.update(is_moderator=False).where(User.id == it.users["mo"].id).execute()

    for name in ("mo", "mo's token"):
        assert it.people[name]("POST", path, json=sent).json()["code"] == "moderators_only"
    assert not it.hidden()


def test_reports_are_limited(booted: Settings):
    limits = booted.limits.model_copy(update={"report": "2/hour"})
    app = create_app(booted.model_copy(update={"limits": limits}))
    gif = stored_gif(person("ann"), "Needle", [])
    with asyncio.Runner() as runner:
        stranger = Client(app, runner.get_loop(), {})
        answers = [
            stranger("POST", f"/api/gifs/{gif.id}/reports", json={"reason": "spam"})
            for _ in range(3)
        ]
    assert [answer.status_code for answer in answers] == [204, 204, 429]
    assert int(answers[2].headers["retry-after"]) > 0
    assert Report.select().count() == 2


@pytest.mark.parametrize("changes", [False, True])
def test_what_was_uploaded_without_an_account(booted: Settings, changes: bool):
    # Given a library where anybody uploads, and in one case, as in development, changes
    auth = {"anonymous_uploads": True, "anonymous_changes": changes}
    auth_settings = booted.auth.model_copy(update=auth)
    app = create_app(booted.model_copy(update={"auth": auth_settings}))
    gif = stored_gif(person("ann"), "Needle", [])
    Gif.update(user=None).where(Gif.id == gif.id).execute()
    mo, bob = person("mo", is_moderator=True), person("bob")
    with asyncio.Runner() as runner:
        people = {
            name: Client(app, runner.get_loop(), headers)
            for name, headers in {
                "stranger": {},
                "bob": {"Cookie": f"gifster_session={tokens.start_session(bob, 1)}"},
                "mo": {"Cookie": f"gifster_session={tokens.start_session(mo, 1)}"},
            }.items()
        }
        for name in ("stranger", "bob"):
            one = people[name]
            page = one("GET", f"/gifs/{gif.id}", headers=HTML).text
            assert (f"/gifs/{gif.id}/trash" in page) is changes
            answer = one("PATCH", f"/api/gifs/{gif.id}", json={"title": name})
            assert answer.status_code == (200 if changes else 403)
            thrown = one("POST", f"/api/gifs/{gif.id}/trash")
            assert thrown.status_code == (200 if changes else 403)
            if changes:
                assert one("POST", f"/api/gifs/{gif.id}/restore").status_code == 200
            else:
                assert answer.json()["code"] == thrown.json()["code"] == "no_owner"
        # Moderators may in any case
        sent = {"action": "remove", "reason": "spam"}
        assert people["mo"]("POST", f"/gifs/{gif.id}/moderate", data=sent).status_code == 303
        assert people["stranger"]("POST", f"/api/gifs/{gif.id}/restore").status_code == 404
