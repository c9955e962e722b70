"""The jobs of accounts, run by a real worker, with a real mail server."""

import io
import zipfile
from collections.abc import Callable

import httpx

from tests.app.accounts.conftest import NEW, OLD
from tests.app.accounts.inbox import Inbox
from tests.app.letters import link_of
from tests.machine import eventually
from tests.stack import Stack


def test_the_life_of_an_account(new_stack: Callable[..., Stack], inbox: Inbox, gif: bytes):
    # Given Ann, who has signed up and uploaded a GIF
    stack = new_stack(GIFSTER_MAIL__URL=inbox.url)
    stack.start_worker()
    stack.start_web()
    client = stack.client
    client.post("/signup", data={"email": "ann@example.org", "password": OLD, "name": "Ann"})
    stack.finished(stack.upload(gif).json()["id"])

    # When she forgets her password, and chooses a new one by mail
    client.cookies.clear()
    client.post("/forgot", data={"email": "ann@example.org"})
    mails = eventually(lambda: inbox.about("Choose a new password"))
    secret = httpx.URL(link_of(mails[0])).path.rpartition("/")[2]
    changed = client.post("/password", data={"secret": secret, "password": NEW})
    assert changed.headers["location"] == "/login?done=password"
    login = client.post("/login", data={"email": "ann@example.org", "password": NEW})
    assert login.status_code == 303

    # I expect a mail that tells her, and no secret in any log
    assert eventually(lambda: inbox.about("was changed"))
    for process in ("gifster-web", "dramatiq-gifster.actors"):
        assert secret not in stack.log(process)

    # When she takes her GIFs along
    client.post("/account/export", data={"": ""})
    link = eventually(lambda: _download(client))
    names = zipfile.ZipFile(io.BytesIO(client.get(link).content)).namelist()
    assert len(names) == 2

    # And leaves
    left = client.post("/account/leave", data={"gifs": "delete", "present": NEW})
    assert left.headers["location"] == "/login?done=left"

    # I expect nothing of hers to be there
    eventually(lambda: not client.get("/api/gifs").json()["items"])
    assert "ann@example.org" not in stack.run("gifster", "users", "list").stdout


def _download(client: httpx.Client) -> str:
    page = client.get("/account").text
    begin = page.find("/account/exports/")
    return "" if begin < 0 else page[begin : page.index('"', begin)]
