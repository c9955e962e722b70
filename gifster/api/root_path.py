"""The library below a path of a host that others share (`web.root_path`).

The rest of the API knows addresses as they are at the root. What comes in loses the path here, and
what sends a browser somewhere gets it: `Location`, and the paths of cookies, as nginx's
`proxy_redirect` and `proxy_cookie_path` do it. Links in pages and in JSON have it from the
templates, from `Context.home()`, and from the storage's URLs.
"""

import re

from gifster.api.adapter import Application, Message, Receive, Refusal, Send
from gifster.api.metrics import count_refused
from gifster.api.middleware import PROBES

#: Programs beside the proxy ask for these, and know only the port.
ALSO_AT_THE_ROOT = {*PROBES, "/metrics"}


#: The attribute of a cookie (RFC 6265, 4.1.1), after its value, which may be in quotes.
_COOKIE_PATH = re.compile(rb'^([^=]+=(?:"[^"]*"|[^";]*)(?:;[^;]*)*?); *path=/', re.IGNORECASE)


def below(app: Application, root: str) -> Application:
    """An application whose addresses all begin with a path.

    Parameters:
      app: answers at the root.
      root: the path, as `web.root_path` has it; empty for none.
    """
    if not root:
        return app

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        path = _inside(scope["path"], root)
        if path is None:
            refusal = _refusal(root)
            count_refused(scope["method"], refusal.status)
            for message in refusal.answer:
                await send(message)
            return
        if path == "":  # relative links would miss the path
            await send(_redirect(scope, root))
            await send({"type": "http.response.body", "body": b""})
            return
        scope["path"] = path  # in place: others leave notes in the scope for those around us
        await app(scope, receive, _sending(send, root.encode()))

    return serve


def _inside(path: str, root: str) -> str | None:
    """What the application calls a path; empty for the root without its slash, None for a path that
    is not below the root."""
    if path == root or path.startswith(root + "/"):
        return path[len(root) :]
    return path if path in ALSO_AT_THE_ROOT else None


def _refusal(root: str) -> Refusal:
    return Refusal(
        404,
        "not_found",
        f"There is nothing at this address: the library is at {root}/. If the address was below "
        "it, the proxy has cut web.root_path off: have it pass paths on unchanged.",
    )


def _redirect(scope: Message, root: str) -> Message:
    query = scope["query_string"]
    where = root.encode() + b"/" + (query and b"?" + query)
    headers = [(b"location", where), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": 308, "headers": headers}


def _sending(send: Send, root: bytes) -> Send:
    async def send_below(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, _below(name.lower(), value, root)) for name, value in message["headers"]
            ]
        await send(message)

    return send_below


def _below(name: bytes, value: bytes, root: bytes) -> bytes:
    if name == b"location" and value[:1] == b"/" and value[:2] != b"//":
        return root + value
    if name == b"set-cookie":
        return _COOKIE_PATH.sub(rb"\1; Path=" + root + b"/", value, count=1)
    return value
