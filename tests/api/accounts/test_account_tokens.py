"""Sessions and tokens on the page about one's own account. What the databases do is tested below it
(`app/accounts/test_tokens`), so SQLite is enough here."""

import re

import pytest

from gifster.app import accounts, tokens
from gifster.app.models import User, now
from gifster.app.tokens import Kind
from tests.api.clients import Client
from tests.api.site import NOTHING, Site, hidden, is_done
from tests.app.accounts.conftest import OLD
from tests.combinations import on_sqlite

pytestmark = on_sqlite


def test_sessions_are_ended_one_by_one_and_all_at_once(site: Site, ann: User):
    here, there, elsewhere = site.browser(ann), site.browser(ann), site.browser(ann)
    token = site.program(ann)
    ids = re.findall('name="id" value="([^"]*)"', here("GET", "/account").text)
    mine = {one.id for one in tokens.tokens_of(ann) if one.kind == Kind.SESSION} - set(ids)
    assert len(mine) == 1  # one's own has no button

    one = next(
        one.id for one in tokens.tokens_of(ann) if one.kind == Kind.SESSION and one.id in ids
    )
    ended = here("POST", "/account/session", data={"id": one})
    assert is_done(ended, "/account?done=session#session")
    seen = [browser("GET", "/account").status_code for browser in (there, elsewhere)]
    assert sorted(seen) == [200, 401]
    here("POST", "/account/sessions", data=NOTHING)
    assert there("GET", "/account").status_code == elsewhere("GET", "/account").status_code == 401
    assert here("GET", "/account").status_code == token("GET", "/account").status_code == 200


def test_nobody_ends_the_sessions_of_others(site: Site, ann: User):
    eve = accounts.sign_up("eve@example.org", OLD)
    site.browser(ann)
    [session] = tokens.tokens_of(ann)

    for form in ("session", "revoke"):
        for token_id in (session.id, session.digest, "", "\u202e", "x" * 3_000):
            answer = site.browser(eve)("POST", f"/account/{form}", data={"id": token_id})
            assert answer.status_code == 404, token_id

    assert tokens.tokens_of(ann) == [session]


def secret_in(page: str) -> str:
    return re.search('aria-label="The new token"[^>]*>([^<]*)<', page)[1]


def test_the_form_of_a_token_works_once(site: Site, ann: User):
    browser = site.browser(ann)
    once = hidden(browser("GET", "/account").text, "once")
    form = {"name": "camera", "scope": "read", "days": "30", "once": once}

    # When a token was made, I expect its secret before all forms, with the focus
    page = browser("POST", "/account/token", data=form).text
    assert page.index(secret_in(page)) < page.index('<form action="/account/name')
    assert re.search('role="status" tabindex="-1" autofocus>This is your new token', page)

    # When the page is loaded again, I expect no second token, and no secret
    again = browser("POST", "/account/token", data=form)
    assert (again.status_code, "made its token already" in again.text) == (409, True)
    assert secret_in(page) not in again.text
    assert [one.name for one in tokens.tokens_of(ann) if one.kind == Kind.TOKEN] == ["camera"]

    # The page has a fresh form, and the same text makes a token of another user's
    other = browser("POST", "/account/token", data=form | {"once": hidden(again.text, "once")})
    assert other.status_code == 200
    eve = site.browser(accounts.sign_up("eve@example.org", OLD))
    assert eve("POST", "/account/token", data=form).status_code == 200


def test_a_token_is_made_shown_once_and_revoked(site: Site, ann: User):
    browser = site.browser(ann)

    form = {"name": "camera <trap>", "scope": "read", "days": "30"}
    page = browser("POST", "/account/token", data=form).text
    secret = secret_in(page)

    # It works, within its scope
    program = Client(site.app, site.loop, {"Authorization": f"Bearer {secret}"})
    assert program("GET", "/api/tokens").status_code == 200
    assert program("DELETE", "/api/tokens").status_code == 403
    # It is shown only this once
    page = browser("GET", "/account").text
    assert secret not in page
    assert "camera &lt;trap&gt;" in page
    [token] = [one for one in tokens.tokens_of(ann) if one.kind == Kind.TOKEN]
    assert 29 <= (token.expires_at - now()).days <= 30
    # And revoked
    browser("POST", "/account/revoke", data={"id": token.id})
    assert program("GET", "/api/tokens").status_code == 401


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"scope": "root"}, {"days": "31"}, {"days": "-1"}, {"days": "\u0663"}]
)
def test_a_bad_token_is_refused_with_the_page(site: Site, ann: User, wrong: dict[str, str]):
    form = {"name": "script", "scope": "read", "days": "30"} | wrong

    answer = site.browser(ann)("POST", "/account/token", data=form)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert {one.kind for one in tokens.tokens_of(ann)} == {Kind.SESSION}
