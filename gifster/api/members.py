"""`auth.read = "members"`: the library is for people who are logged in, and for programs with an
API token.

Every route is closed unless its resource says otherwise, so a new one is closed, too. A resource
with `open_to_strangers = True` is for everybody. One with `asks_for_key = True` has a door of its
own (`dropin.access.Keys`, `metrics.Metrics`). Static files are open: they are the same everywhere.
"""

from falcon.asgi import Request, Response

from gifster.api.auth import require_reader
from gifster.api.context import Context
from gifster.app.boot import MEDIA

#: Files, for which a signature is enough (`signed`).
SIGNED = (f"{MEDIA}/", "/g/")
OPEN, OWN_WALL = "open_to_strangers", "asks_for_key"


class MembersOnly:
    """Refuses strangers, if the settings say so.

    Parameters:
      context: the process's.
    """

    def __init__(self, context: Context) -> None:
        self._context, self._on = context, context.members_only

    async def process_request(self, req: Request, resp: Response) -> None:
        """Refuse strangers the store's files, which are no resource.

        Raises:
          Problem: 401, as `require_reader()`.
        """
        if self._on and req.path.startswith(f"{MEDIA}/"):
            await self._require(req)

    async def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, str]
    ) -> None:
        """Refuse strangers everything else.

        Raises:
          Problem: 401, as `require_reader()`.
        """
        if self._on and not (getattr(resource, OPEN, False) or getattr(resource, OWN_WALL, False)):
            await self._require(req)

    async def _require(self, req: Request) -> None:
        if not (req.path.startswith(SIGNED) and self._context.signatures.hold(req)):
            await require_reader(self._context, req)

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        """Keep what members see out of shared caches."""
        caching = resp.get_header("Cache-Control")
        if self._on and caching is not None and "no-store" not in caching:
            rest = caching.removeprefix("public, ").removeprefix("private, ")
            resp.set_header("Cache-Control", f"private, {rest}")
