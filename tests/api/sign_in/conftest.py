"""What the tests of signing in share: browsers against an application in this process, and sign-in
services."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gifster.api.app import create_app
from gifster.app import accounts
from gifster.app.models import User, now
from gifster.app.settings import Auth, Oidc, Settings
from tests.api.sign_in.service import Service

PASSWORD = "correct horse"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the tests of `app` run on both databases."""
    return f"sqlite:///{tmp_path}/var/gifster.db"


class Browser:
    """A browser with cookies of its own, which follows no redirect by itself.

    Parameters:
      address: the other end of its connection.
    """

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, address: str) -> None:
        self._loop = loop
        transport = httpx.ASGITransport(app, client=(address, 5000))
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers={"Accept": "text/html"}
        )

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self._loop.run_until_complete(self.client.get(url, **options))

    def post(self, url: str, data: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        body = options if "json" in options or "content" in options else {"data": data or {}}
        headers = options.pop("headers", {})
        if "data" in body and not data:
            headers = headers | {"Content-Type": "application/x-www-form-urlencoded"}
        return self._loop.run_until_complete(self.client.post(url, headers=headers, **body))

    def log_in(self, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return self.post("/login", {"email": email, "password": password} | fields)

    @property
    def who(self) -> str | None:
        """The name of the user who is logged in."""
        found = re.search("<summary><bdi>(.*?)</bdi>", self.get("/").text)
        return found[1] if found else None

    @property
    def session(self) -> str | None:
        return self.client.cookies.get("gifster_session")


class Site:
    """An application in this process, and browsers."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings, self.loop = settings, loop
        self.app = create_app(settings)

    def browser(self, address: str = "127.0.0.1") -> Browser:
        return Browser(self.app, self.loop, address)

    def with_password_of(self, user: User, address: str = "127.0.0.1") -> Browser:
        """A browser in which somebody has typed a user's address and password, right ones."""
        browser = self.browser(address)
        browser.log_in(user.email)
        return browser


#: Makes a site with other settings.
NewSite = Callable[..., Site]


@pytest.fixture
def new_site(booted: Settings) -> Iterator[NewSite]:
    """Makes a site with other settings of the sections `auth` and `oidc`."""
    loop = asyncio.new_event_loop()

    def make(oidc: dict[str, Any] | None = None, **auth: Any) -> Site:
        sections = {"auth": Auth(**auth), "oidc": Oidc(**(oidc or {}))}
        return Site(booted.model_copy(update=sections), loop)

    yield make
    loop.close()


@pytest.fixture(scope="session")
def provider() -> Iterator[str]:
    """The issuer of a provider that is no work of ours."""
    import oidc_provider_mock  # only here: every process of the tests imports this file

    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def running_service() -> Iterator[Service]:
    service = Service()
    with service.running():
        yield service


@pytest.fixture
def service(running_service: Service) -> Service:
    """A provider that does what a test wants."""
    running_service.reset()
    return running_service


@pytest.fixture
def ann(booted: Settings) -> User:
    """Ann, with a password and a confirmed address."""
    return new_user("ann")


def new_user(name: str, *, confirmed: bool = True, **values: Any) -> User:
    user = accounts.sign_up(f"{name}@example.org", PASSWORD, name)
    values |= {"confirmed_at": now() if confirmed else None}
    User.update(values).where(User.id == user.id).execute()
    return User.get_by_id(user.id)


def come_back(browser: Browser, service: Service, path: str = "/login/oidc") -> httpx.Response:
    begun = browser.get(path)
    assert begun.status_code == 303, begun.text
    return browser.get(service.log_in(begun.headers["location"]))


def refused(answer: httpx.Response, status: int, text: str) -> bool:
    assert answer.status_code == status, answer.text
    [told] = re.findall(r'<p class="state failed" role="alert">(.*?)</p>', answer.text, re.DOTALL)
    assert text in told
    assert (
        "set-cookie" not in answer.headers or "gifster_session" not in answer.headers["set-cookie"]
    )
    return True


def begin_link(browser: Browser, service: Service, **headers: str) -> httpx.Response:
    begun = browser.get("/login/oidc?link=1", headers=headers)
    assert begun.status_code == 303
    return browser.get(service.log_in(begun.headers["location"]))
