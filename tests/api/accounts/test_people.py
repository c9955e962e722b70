"""The pages on which admins look after people. What the databases do is tested below them
(`app/accounts/test_standing`), so SQLite is enough here."""

import re
from datetime import timedelta

import falcon.inspect
import pytest

from gifster.app import accounts, tokens
from gifster.app.accounts import leaving, people, standing
from gifster.app.models import Token, User, now
from gifster.app.moderation import log
from gifster.app.moderation.roles import Role, role_of
from gifster.app.sign_in.tables import AuthenticatorApp
from gifster.app.tokens import Scope
from tests.api.clients import Client
from tests.api.site import Site, is_done
from tests.app.letters import run_mail_jobs
from tests.combinations import on_sqlite

pytestmark = on_sqlite


@pytest.fixture
def root(ann: User) -> User:
    return User.create(email="root@example.org", name="Root", password_hash="", is_admin=True)


def names(page: str) -> list[str]:
    return re.findall(r'href="/people/\w+"><bdi>(.*?)</bdi>', page)


def test_admins_find_people(site: Site, ann: User, root: User):
    for number, name in enumerate(["Ännchen", "Bob <b>", "50%_off"]):
        accounts.add(f"p{number}@example.org", name)
    accounts.disable(accounts.find_user("p1@example.org"))
    standing.give_role(ann, Role.MODERATOR, root, "helps")
    browser = site.browser(root)

    everybody = browser("GET", "/people").text
    assert names(everybody) == ["50%_off", "Bob &lt;b&gt;", "Ännchen", "Root", "Ann"]
    for query, found in (
        ("q=änn", ["Ännchen"]),
        ("q=ROOT@", ["Root"]),
        ("q=%25_", ["50%_off"]),
        ("q=nobody", []),
        ("kind=admins", ["Root"]),
        ("kind=moderators", ["Ann"]),
        ("kind=disabled", ["Bob &lt;b&gt;"]),
        ("kind=members&q=p0", ["Ännchen"]),
    ):
        assert names(browser("GET", f"/people?{query}").text) == found, query
    for query in ("kind=root", "cursor=x", f"q={'a' * 201}", "q=%00"):
        assert browser("GET", f"/people?{query}").status_code == 400, query
    assert 'href="/people"' in browser("GET", "/").text


def test_more_people_than_a_page_has(site: Site, root: User):
    for number in range(40):
        accounts.add(f"p{number}@example.org")
    browser = site.browser(root)

    first = browser("GET", "/people?q=example").text
    query = re.search(r'href="/people\?([^"]*)">Older', first)[1].replace("&amp;", "&")
    second = browser("GET", f"/people?{query}").text

    assert "q=example" in query
    assert len(set(names(first) + names(second))) == 42
    assert ">Older" not in second


def test_an_admin_gives_roles_with_a_reason(site: Site, ann: User, root: User):
    browser, path = site.browser(root), f"/people/{ann.id}"
    of_ann = site.program(ann)
    assert of_ann("GET", "/people").status_code == 403

    for reason in ("", "  "):
        refused = browser("POST", f"{path}/role", data={"role": "admin", "reason": reason})
        assert refused.status_code == 422
        assert re.search('value="admin" required checked', refused.text)
    assert browser("POST", f"{path}/role", data={"role": "boss", "reason": "x"}).status_code == 422
    assert role_of(User.get_by_id(ann.id)) is Role.MEMBER

    form = {"role": "admin", "reason": "runs <it> now"}
    assert is_done(browser("POST", f"{path}/role", data=form), f"{path}?done=role")

    assert of_ann("GET", "/people").status_code == 200
    page = browser("GET", f"{path}?done=role").text
    assert "The role is changed." in page
    assert "runs &lt;it&gt; now" in page
    assert "<strong>role</strong> member → admin" in page
    [entry] = log.entries()[0]
    assert (entry.moderator_name, entry.user_id) == ("Root", ann.id)


def test_an_admin_closes_an_account_and_opens_it_again(site: Site, ann: User, root: User):
    browser, path, of_ann = site.browser(root), f"/people/{ann.id}", site.browser(ann)

    for form, text in (("disable", "The account is disabled"), ("enable", "can log in again")):
        done = browser("POST", f"{path}/{form}", data={"reason": "asked to"})
        assert is_done(done, f"{path}?done={form}")
        assert text in browser("GET", f"{path}?done={form}").text

    assert of_ann("GET", "/account").status_code == 401  # the former session is gone for good
    # And helps somebody who cannot log in
    AuthenticatorApp.create(user=ann, secret="A" * 32, confirmed_at=now())
    site.browser(ann)
    for form in ("second-factor", "log-out", "reset"):
        done = browser("POST", f"{path}/{form}", data={"reason": "lost it"})
        assert is_done(done, f"{path}?done={form}")
    assert [mail["Subject"] for mail in run_mail_jobs(site.settings)] == [
        "Choose a new password for Gifster"
    ]
    assert Token.select().where(Token.user == ann).count() == 0
    assert [entry.action for entry in log.entries()[0]] == [
        "log-out", "factor-off", "enable", "disable",
    ]  # fmt: skip


def test_nobody_decides_about_themselves_or_with_an_old_session(site: Site, ann: User, root: User):
    browser = site.browser(root)
    own = f"/people/{root.id}"
    assert "another admin decides about it" in browser("GET", own).text
    for form in ({"role": "member", "reason": "x"}, {"reason": "x"}):
        name = "role" if "role" in form else "disable"
        assert browser("POST", f"{own}/{name}", data=form).status_code == 409

    # A session that leaked, or a browser that was left alone
    Token.update(created_at=now() - timedelta(minutes=16)).execute()
    path = f"/people/{ann.id}"
    page = browser("GET", path).text
    assert f'href="/login?again=1&amp;next={path}"' in page
    assert "<form action" not in page.partition("<main")[2]
    refused = browser("POST", f"{path}/role", data={"role": "admin", "reason": "x"})
    assert is_done(refused, f"/login?again=1&next={path}")
    # And no token of a program
    program = site.program(root)
    refused = program("POST", f"{path}/role", data={"role": "admin", "reason": "x"})
    assert is_done(refused, f"/login?next={path}")
    assert role_of(User.get_by_id(ann.id)) is Role.MEMBER


def test_these_pages_are_for_admins(site: Site, ann: User, root: User):
    User.update(is_moderator=True).where(User.id == ann.id).execute()
    clients: dict[int, list[Client]] = {
        401: [site.stranger()],
        403: [site.browser(ann), site.program(ann), site.program(root, Scope.WRITE)],
    }
    routes = [
        (method.method, route.path.format(user_id=ann.id))
        for route in falcon.inspect.inspect_routes(site.app)
        if route.path.startswith("/people")
        for method in route.methods
        if not method.internal and method.method != "HEAD"
    ]
    assert len(routes) == 8
    for method, path in routes:
        sent = {} if method == "GET" else {"data": {"role": "admin", "reason": "x"}}
        for status, some in clients.items():
            for client in some:
                assert client(method, path, **sent).status_code == status, (method, path)
    # Nor for forms of another site
    headers = {"Origin": "https://evil.example.org"}
    sent = {"data": {"role": "admin", "reason": "x"}}
    browser = site.browser(root)
    answer = browser("POST", f"/people/{ann.id}/role", headers=headers, **sent)
    assert answer.status_code == 403
    for missing in ("x", "a" * 12, "%00"):
        assert browser("GET", f"/people/{missing}").status_code == 404
    assert role_of(User.get_by_id(ann.id)) is Role.MODERATOR


def test_somebody_who_has_left_is_nobody(site: Site, ann: User, root: User):
    leaving.leave(ann, with_gifs=False)

    browser = site.browser(root)

    assert names(browser("GET", "/people").text) == ["Root"]
    assert browser("GET", f"/people/{ann.id}").status_code == 404
    sent = {"data": {"reason": "x"}}
    assert browser("POST", f"/people/{ann.id}/enable", **sent).status_code == 404
    assert people.has_left(User.get_by_id(ann.id))


# Tokens that may do all.


def test_a_token_that_may_do_all_takes_a_log_in_of_the_last_minutes(site: Site, ann: User):
    User.update(confirmed_at=now()).execute()
    browser, form = site.browser(ann), {"name": "cron", "scope": "admin", "days": "30"}
    Token.update(created_at=now() - timedelta(minutes=16)).execute()

    refused = browser("POST", "/account/token", data=form)
    assert refused.status_code == 403
    assert 'href="/login?again=1&amp;next=/account"' in refused.text
    assert 'value="admin" selected' in refused.text
    by_script = browser("POST", "/api/tokens", json={"name": "cron", "scope": "admin"})
    assert (by_script.status_code, by_script.json()["code"]) == (403, "log_in_again")
    # Others do not need it, and its user hears of each
    assert browser("POST", "/account/token", data=form | {"scope": "read"}).status_code == 200
    assert site.browser(ann)("POST", "/account/token", data=form).status_code == 200
    texts = [mail.get_body(("plain",)).get_content() for mail in run_mail_jobs(site.settings)]
    assert ["sees what you see" in texts[0], "all that you may" in texts[1]] == [True, True]


def test_a_token_makes_none_that_outlives_it(site: Site, ann: User):
    short = tokens.create_token(ann, "short", Scope.ADMIN, 1)[1]
    program = Client(site.app, site.loop, {"Authorization": f"Bearer {short}"})

    for days in (None, 365):
        body = {"name": "long", "scope": "admin", "expires_in_days": days}
        assert program("POST", "/api/tokens", json=body).status_code == 201

    ends = {token.name: token.expires_at for token in tokens.tokens_of(ann)}
    assert ends["long"] == ends["short"]
    # Narrower ones may stay: the token that signing up gives makes them for scripts
    narrow = {"name": "narrow", "scope": "write", "expires_in_days": None}
    assert program("POST", "/api/tokens", json=narrow).json()["expires_at"] is None
