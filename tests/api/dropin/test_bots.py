"""The bots in `examples/bots`, each between a running library and a stub of its chat."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from examples.bots import discord, mattermost, slack
from tests.api.dropin import clients
from tests.stack import Stack

BOTS = Path(mattermost.__file__).parent


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server."""
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _library(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for bot in (discord, mattermost, slack):
        monkeypatch.setattr(bot, "GIFSTER", base)


def is_a_gif(library: Stack, url: str) -> bool:
    return library.client.get(url).content[:4] == b"GIF8"


def test_mattermost_shows_a_gif_to_all(library: Stack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mattermost, "TOKEN", "a token")
    with serving(mattermost.Command) as bot:
        # Given the command of a user, as Mattermost sends it
        sent = {"token": "a token", "command": "/gif", "text": "happy cat", "user_name": "ann"}
        answer = httpx.post(bot, data=sent).json()

        # I expect a post with a picture
        assert answer["response_type"] == "in_channel"
        (picture,) = answer["attachments"]
        assert picture["fallback"] == "A happy cat"
        assert is_a_gif(library, picture["image_url"])
        # and a word to the user alone, if there is no such GIF
        for text in ("unknownword", ""):
            answer = httpx.post(bot, data={**sent, "text": text}).json()
            assert answer["response_type"] == "ephemeral"
        # and nobody else to be served
        assert httpx.post(bot, data={**sent, "token": "another"}).status_code == 401
        assert httpx.post(bot, content=b"").status_code == 401


def test_slack_shows_a_gif_to_all(library: Stack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slack, "SECRET", "a secret")
    with serving(slack.Command) as bot:

        def ask(text: str, secret: str = "a secret", age: float = 0) -> httpx.Response:
            body = urlencode({"command": "/gif", "text": text, "user_id": "U1"})
            sent_at = str(int(time.time() - age))
            signed = hmac.new(secret.encode(), f"v0:{sent_at}:{body}".encode(), hashlib.sha256)
            headers = {
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Slack-Request-Timestamp": sent_at,
                "X-Slack-Signature": f"v0={signed.hexdigest()}",
            }
            return httpx.post(bot, content=body, headers=headers)

        answer = ask("happy cat").json()
        assert answer["response_type"] == "in_channel"
        (block,) = answer["blocks"]
        assert (block["type"], block["alt_text"]) == ("image", "A happy cat")
        assert is_a_gif(library, block["image_url"])
        assert ask("unknownword").json()["response_type"] == "ephemeral"
        assert ask("cat", secret="another").status_code == 401
        assert ask("cat", age=3_600).status_code == 401
        assert httpx.post(bot, content=b"text=cat").status_code == 401


def test_discord_shows_a_gif_to_all(library: Stack, monkeypatch: pytest.MonkeyPatch):
    key = Ed25519PrivateKey.generate()
    monkeypatch.setattr(discord, "PUBLIC_KEY", key.public_key().public_bytes_raw().hex())
    with serving(discord.Interactions) as bot:

        def ask(interaction: dict[str, Any], key: Ed25519PrivateKey = key) -> httpx.Response:
            body, sent_at = json.dumps(interaction).encode(), "1700000000"
            signature = key.sign(sent_at.encode() + body).hex()
            headers = {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": sent_at}
            return httpx.post(bot, content=body, headers=headers)

        def command(words: str) -> dict[str, Any]:
            options = [{"name": "words", "type": 3, "value": words}]
            return {"type": 2, "data": {"name": "gif", "options": options}}

        # Discord tries the address before it takes it.
        assert ask({"type": 1}).json() == {"type": 1}
        assert ask({"type": 1}, Ed25519PrivateKey.generate()).status_code == 401
        assert httpx.post(bot, content=b"{}").status_code == 401

        answer = ask(command("happy cat")).json()
        (embed,) = answer["data"]["embeds"]
        assert (answer["type"], embed["title"]) == (4, "A happy cat")
        assert is_a_gif(library, embed["image"]["url"])
        nothing = ask(command("unknownword")).json()
        assert nothing["data"]["flags"] == 64


class Homeserver(BaseHTTPRequestHandler):
    """A stub of a Matrix homeserver: it takes media and events."""

    protocol_version = "HTTP/1.1"
    taken: list[tuple[str, bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((self.path, body))
        media = self.path.startswith("/_matrix/media/")
        said = {"content_uri": "mxc://stub/picture"} if media else {"event_id": "$event"}
        answer = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST


#: What maubot does with a plugin: it makes an instance, and calls its handlers.
MAUBOT = """if True:
    import asyncio, json, logging, os, sys
    import aiohttp
    from maubot.matrix import MaubotMatrixClient, MaubotMessageEvent
    from mautrix.types import EventType, MessageEvent, MessageType, TextMessageEventContent
    from ruamel.yaml import YAML
    from mautrix.util.config import RecursiveDict
    from ruamel.yaml.comments import CommentedMap
    sys.path.insert(0, os.environ["PLUGIN"])
    import gifs

    def yaml(text):
        return RecursiveDict(YAML().load(text), CommentedMap)

    async def main():
        async with aiohttp.ClientSession() as http:
            client = MaubotMatrixClient(
                mxid="@bot:stub", base_url=os.environ["HOMESERVER"], token="x", client_session=http
            )
            default = open(os.environ["PLUGIN"] + "/base-config.yaml").read()
            own = "gifster: " + os.environ["BASE"]
            config = gifs.Gifs.get_config_class()(lambda: yaml(own), lambda: yaml(default), print)
            loop, log = asyncio.get_running_loop(), logging.getLogger("maubot")
            plugin = gifs.Gifs(client, loop, http, "gifs", log, config, None, None, None, None)
            plugin.config.save = lambda *_: None
            await plugin.internal_start()
            for body in ("!gif happy cat", "!gif unknownword", "hello"):
                event = MessageEvent(
                    type=EventType.ROOM_MESSAGE, room_id="!room:stub", event_id="$1",
                    sender="@ann:stub", timestamp=1,
                    content=TextMessageEventContent(msgtype=MessageType.TEXT, body=body),
                )
                for handler, _ in plugin._handlers_at_startup:
                    await handler(MaubotMessageEvent(event, client))
        print("true")

    asyncio.run(main())
"""


def test_a_matrix_bot_posts_a_gif(library: Stack, base: str):
    clients.require()
    Homeserver.taken.clear()
    with serving(Homeserver) as homeserver:
        environment = {"BASE": base, "HOMESERVER": homeserver, "PLUGIN": str(BOTS / "matrix")}
        clients.python("maubot", MAUBOT, environment=environment)

    # I expect the picture in the homeserver, and a message that shows it
    (media, picture), (sent, message), (_, apology) = Homeserver.taken
    assert media.startswith("/_matrix/media/")
    assert picture[:4] == b"GIF8"
    assert "/send/m.room.message/" in sent
    content = json.loads(message)
    assert (content["msgtype"], content["body"]) == ("m.image", "A happy cat")
    assert content["url"] == "mxc://stub/picture"
    assert content["info"] == {"mimetype": "image/gif", "size": len(picture), "w": 60, "h": 40}
    # and a word where there is none
    assert "unknownword" in json.loads(apology)["body"]
