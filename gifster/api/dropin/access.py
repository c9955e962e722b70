"""Who may search: the keys, the rates, and the pages of other sites.

A key allows searching only, so it may be in a page's script. Nothing on these paths looks at a
cookie: a page of another site learns and does here only what anybody can. In a library for members
(`auth.read`) nobody searches without a key, and an API token is one, too.
"""

import hashlib
import hmac

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import bearer
from gifster.api.context import Context
from gifster.api.dropin.envelopes import ENVELOPES
from gifster.api.problems import Problem
from gifster.app.boot import MEDIA
from gifster.app.tokens import Kind, find_token

#: From where any page may ask: the API, and the files that it names …
OPEN = (*ENVELOPES, f"{MEDIA}/", "/g/")
#: … and what tells a page how to show a link.
OEMBED = "/oembed"
#: How long a browser remembers that it may ask (seconds); more is nowhere allowed.
PREFLIGHT_S = 86_400
#: `*` does not stand for Authorization (Fetch, 4.9).
HEADERS = "Authorization, *"


class Keys:
    """The keys of `search.keys`.

    Parameters:
      context: the process's.
    """

    def __init__(self, context: Context) -> None:
        keys = context.settings.search.keys
        self._context = context
        self._any = not keys and not context.members_only
        #: By the name under which its requests are counted, which does not tell the key.
        self._keys = {hashlib.sha256(key.encode()).hexdigest()[:16]: key.encode() for key in keys}

    def name_of(self, key: str) -> str:
        """The name by which requests with a key are counted; empty if any key is taken.

        Raises:
          KeyError: it is no key of ours.
        """
        if self._any:
            return ""
        sent, found = key.encode(), None
        for name, known in self._keys.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, sent):
                found = name
        if found is None:
            raise KeyError
        return found

    def check(self, req: Request, key: str, status: int) -> None:
        """Count a request, in a thread.

        Parameters:
          key: the one that it came with.
          status: of the answer to a wrong key.

        Raises:
          Problem: it is no key of ours.
          RateLimited: too many requests with this key.
        """
        name = self._name_of_member(req, key) or self.require(key, status)
        self._context.limits.search(req, name)

    def require(self, key: str, status: int) -> str:
        """The name of a key, as `name_of()` tells it.

        Raises:
          Problem: it is no key of ours; with this status.
        """
        try:
            return self.name_of(key)
        except KeyError:
            # Ghost looks for these very words.
            missing = "" if key else " The request has none."
            raise Problem(
                status,
                "api_key_invalid",
                f"API key not valid. Please pass a valid API key.{missing}",
            ) from None

    def _name_of_member(self, req: Request, key: str) -> str:
        """The name by which requests with an API token are counted, which may come as a key or as
        other API tokens do. Empty if there is none, and where everybody may read."""
        if not self._context.members_only:
            return ""
        token = find_token(bearer(req) or key, Kind.TOKEN)
        return "" if token is None else token.id


class CrossOrigin:
    """Lets pages of all sites ask (Fetch, 3.3), on these paths only."""

    async def process_request(self, req: Request, resp: Response) -> None:
        """Answer a preflight request."""
        if req.method != "OPTIONS" or not _is_open(req):
            return
        if req.get_header("Access-Control-Request-Method") is None:
            return
        resp.set_header("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
        resp.set_header("Access-Control-Allow-Headers", HEADERS)
        resp.set_header("Access-Control-Max-Age", str(PREFLIGHT_S))
        resp.status = falcon.HTTP_204
        resp.complete = True

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        """Allow the page to read the answer, an error too."""
        if _is_open(req):
            resp.set_header("Access-Control-Allow-Origin", "*")
            # `Retry-After`, and `Content-Range` and `ETag` of files. No request has credentials.
            resp.set_header("Access-Control-Expose-Headers", "*")


def _is_open(req: Request) -> bool:
    return req.path == OEMBED or str(req.path).startswith(OPEN)
