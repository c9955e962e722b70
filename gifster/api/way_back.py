"""Where somebody goes on who had to log in first.

The log-in form has the path in a field, `next`, which anybody can write into a link. So only paths
of this library count: a link to our log-in page leads to no other site.
"""

import re
from urllib.parse import quote

import falcon
from falcon.asgi import Request

#: Longer ones are not worth the bytes that they take in links.
MOST = 1_000
#: Browsers read a backslash as a slash, and leave out tabs and line ends (WHATWG URL, 4.4).
_OURS = re.compile(r"/(?![/\\])[!-\[\]-~]*")
#: Pages that lead on themselves.
_NEVER = ("/login", "/logout", "/signup")


def local_path(text: str) -> str:
    """A path of this library with its query, as somebody sent it; `/` if it is none."""
    ours = len(text) <= MOST and _OURS.fullmatch(text)
    return text if ours and not text.startswith(_NEVER) else "/"


def way_back(req: Request) -> str:
    """The page to show after somebody has logged in who made this request: the same again, or the
    page that has the form that was sent."""
    path = falcon.uri.encode(req.path)
    if req.method not in ("GET", "HEAD"):
        return local_path(path.rpartition("/")[0] or "/")
    return local_path(path + (f"?{req.query_string}" if req.query_string else ""))


def with_back(path: str, back: str) -> str:
    """A path of ours that leads on to another one."""
    return path if back == "/" else f"{path}?next={quote(back, safe='/')}"
