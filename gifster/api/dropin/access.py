"""Who may search: the keys, the rates, and the pages of other sites.

A key allows searching only, so it may be in a page's script. Nothing on these paths looks at a
cookie: a page of another site learns and does here only what anybody can.
"""

import hashlib
import hmac

import falcon
from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.api.dropin.envelopes import ENVELOPES
from gifster.api.problems import Problem
from gifster.app.boot import MEDIA

#: From where any page may ask: the API, and the files that it names.
OPEN = (*ENVELOPES, f"{MEDIA}/", "/g/")
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
        #: By the name under which its requests are counted, which does not tell the key.
        self._keys = {hashlib.sha256(key.encode()).hexdigest()[:16]: key.encode() for key in keys}

    def name_of(self, key: str) -> str:
        """The name by which requests with a key are counted; empty if any key is taken.

        Raises:
          KeyError: it is no key of ours.
        """
        if not self._keys:
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
        self._context.limits.search(req, self.require(key, status))

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


class CrossOrigin:
    """Lets pages of all sites ask (Fetch, 3.3), on the paths of the drop-in API only."""

    async def process_request(self, req: Request, resp: Response) -> None:
        """Answer a preflight request."""
        if req.method != "OPTIONS" or not req.path.startswith(OPEN):
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
        if req.path.startswith(OPEN):
            resp.set_header("Access-Control-Allow-Origin", "*")
            resp.set_header("Access-Control-Expose-Headers", "Retry-After")
