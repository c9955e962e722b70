"""`/gif happy cat` in Discord: a slash command that posts a GIF of your own library.

    pip install cryptography
    GIFSTER=https://gifs.example.org DISCORD_PUBLIC_KEY=… python discord.py

1. At discord.com/developers: New Application. Copy its public key into DISCORD_PUBLIC_KEY.
2. Declare the command once, with the application's id and its bot's token:

       curl -X POST https://discord.com/api/v10/applications/APPLICATION_ID/commands \\
         -H "Authorization: Bot BOT_TOKEN" -H "Content-Type: application/json" \\
         -d '{"name": "gif", "description": "A GIF of our library", "options":
              [{"type": 3, "name": "words", "description": "What it shows", "required": true}]}'

3. Interactions Endpoint URL: `https://bot.example.org/`, which a proxy of yours passes on to port
   8067 here. Discord tests it at once, also with wrong signatures.
4. Discord fetches the pictures itself: Gifster must be reachable from outside, at its
   `web.public_url`. If Gifster has `search.keys`: one of them in GIFSTER_KEY.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

GIFSTER = os.environ.get("GIFSTER", "http://127.0.0.1:8000")
KEY = os.environ.get("GIFSTER_KEY", "")
PUBLIC_KEY = os.environ.get("DISCORD_PUBLIC_KEY", "")
#: Of interactions and their answers (docs.discord.com, "Receiving and Responding").
PING, COMMAND, PONG, MESSAGE, EPHEMERAL = 1, 2, 1, 4, 1 << 6


def gif(words: str) -> dict[str, Any] | None:
    """The GIF that comes nearest to some words; none if there is none."""
    query = urlencode({"s": words, "rating": "pg-13", "api_key": KEY})
    with urlopen(f"{GIFSTER}/v1/gifs/translate?{query}", timeout=2) as answer:  # noqa: S310
        return json.load(answer)["data"] or None


def reply(interaction: dict[str, Any]) -> dict[str, Any]:
    """What Discord shows: to all if there is a GIF, else to its sender alone."""
    if interaction["type"] == PING:
        return {"type": PONG}
    options = interaction.get("data", {}).get("options", [])
    words = next((str(option["value"]) for option in options if option["name"] == "words"), "")
    found = gif(words) if words.strip() else None
    if found is None:
        return {"type": MESSAGE, "data": {"content": f"No GIF for “{words}”.", "flags": EPHEMERAL}}
    embed = {"title": found["title"][:256], "url": found["url"],
             "image": {"url": found["images"]["original"]["url"]}}  # fmt: skip
    return {"type": MESSAGE, "data": {"embeds": [embed]}}


def is_discord(body: bytes, sent_at: str, signature: str) -> bool:
    """Whether Discord has signed a request."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(PUBLIC_KEY))
        key.verify(bytes.fromhex(signature), sent_at.encode() + body)
    except (InvalidSignature, ValueError):
        return False
    return True


class Interactions(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 65_536))
        sent_at = self.headers.get("X-Signature-Timestamp", "")
        if not is_discord(body, sent_at, self.headers.get("X-Signature-Ed25519", "")):
            self.send_error(401)
            return
        answer = json.dumps(reply(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8067"))), Interactions).serve_forever()
