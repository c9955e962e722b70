"""`/gif happy cat` in Slack: a slash command that posts a GIF of your own library.

    GIFSTER=https://gifs.example.org SLACK_SIGNING_SECRET=… python slack.py

1. At api.slack.com/apps: Create New App, Slash Commands, Create. Command `/gif`, request URL
   `https://bot.example.org/`, which a proxy of yours passes on to port 8066 here.
2. Basic Information, Signing Secret: copy it into SLACK_SIGNING_SECRET. Install the app.
3. Slack fetches the pictures itself: Gifster must be reachable from outside, at its
   `web.public_url`.
4. If Gifster has `search.keys`: one of them in GIFSTER_KEY.

It needs Python alone.
"""

import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode
from urllib.request import urlopen

GIFSTER = os.environ.get("GIFSTER", "http://127.0.0.1:8000")
KEY = os.environ.get("GIFSTER_KEY", "")
SECRET = os.environ.get("SLACK_SIGNING_SECRET", "")
#: An older request may be a copy of one that somebody has overheard (seconds).
OLDEST = 300


def gif(words: str) -> dict[str, Any] | None:
    """The GIF that comes nearest to some words; none if there is none."""
    query = urlencode({"s": words, "rating": "pg-13", "api_key": KEY})
    with urlopen(f"{GIFSTER}/v1/gifs/translate?{query}", timeout=2) as answer:  # noqa: S310
        return json.load(answer)["data"] or None


def reply(words: str) -> dict[str, Any]:
    """What Slack shows: to all if there is a GIF, else to its sender alone."""
    found = gif(words) if words else None
    if found is None:
        text = f"No GIF for “{words}”." if words else "Write what you look for: `/gif happy cat`"
        return {"response_type": "ephemeral", "text": text}
    picture = {
        "type": "image",
        "image_url": found["images"]["downsized"]["url"],  # Slack takes 2 MB
        "alt_text": found["alt_text"] or found["title"],
        "title": {"type": "plain_text", "text": words[:2000]},
    }
    return {"response_type": "in_channel", "text": found["title"], "blocks": [picture]}


def is_slack(body: bytes, sent_at: str, signature: str) -> bool:
    """Whether Slack has signed a request (docs.slack.dev, "Verifying requests from Slack")."""
    if not SECRET or not sent_at.isdigit() or abs(time.time() - int(sent_at)) > OLDEST:
        return False
    signed = hmac.new(SECRET.encode(), f"v0:{sent_at}:".encode() + body, hashlib.sha256)
    return hmac.compare_digest(f"v0={signed.hexdigest()}", signature)


class Command(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 65_536))
        sent_at = self.headers.get("X-Slack-Request-Timestamp", "")
        if not is_slack(body, sent_at, self.headers.get("X-Slack-Signature", "")):
            self.send_error(401)
            return
        answer = json.dumps(reply(parse_qs(body.decode()).get("text", [""])[0].strip())).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8066"))), Command).serve_forever()
