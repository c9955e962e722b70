"""`/gif happy cat` in Mattermost: a slash command that posts a GIF of your own library.

    GIFSTER=https://gifs.example.org MATTERMOST_TOKEN=… python mattermost.py

1. In Mattermost: Integrations, Slash Commands, Add. Command trigger word `gif`, request URL
   `http://this-machine:8065/`, method POST. Copy its token into MATTERMOST_TOKEN.
2. If this program is on the same network: System Console, Developer, "Allow untrusted internal
   connections to", and its host.
3. If Gifster has `search.keys`: one of them in GIFSTER_KEY.

It needs Python alone. Nobody outside learns what is searched for.
"""

import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode
from urllib.request import urlopen

GIFSTER = os.environ.get("GIFSTER", "http://127.0.0.1:8000")
KEY = os.environ.get("GIFSTER_KEY", "")
TOKEN = os.environ.get("MATTERMOST_TOKEN", "")


def gif(words: str) -> dict[str, Any] | None:
    """The GIF that comes nearest to some words; none if there is none."""
    query = urlencode({"s": words, "rating": "pg-13", "api_key": KEY})
    with urlopen(f"{GIFSTER}/v1/gifs/translate?{query}", timeout=5) as answer:  # noqa: S310
        return json.load(answer)["data"] or None


def reply(words: str) -> dict[str, Any]:
    """What Mattermost shows: to all if there is a GIF, else to its sender alone."""
    found = gif(words) if words else None
    if found is None:
        text = f"No GIF for “{words}”." if words else "Write what you look for: `/gif happy cat`"
        return {"response_type": "ephemeral", "text": text}
    picture = {"fallback": found["title"], "image_url": found["images"]["original"]["url"]}
    return {"response_type": "in_channel", "text": f"/gif {words}", "attachments": [picture]}


class Command(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), 65_536)
        form = parse_qs(self.rfile.read(length).decode())
        if not TOKEN or not hmac.compare_digest(form.get("token", [""])[0], TOKEN):
            self.send_error(401)
            return
        body = json.dumps(reply(form.get("text", [""])[0].strip())).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8065"))), Command).serve_forever()
