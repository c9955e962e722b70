"""The notice after a GIF went into the trash, with a button to undo it.

A cookie carries the GIF's id to the next page, which shows the notice once. So the address of that
page stays as it is, and nothing needs JavaScript.
"""

from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.app import library
from gifster.app.access import Viewer
from gifster.app.models import Gif

COOKIE = "gifster_thrown_away"
#: Long enough for the next page to load (seconds).
MAX_AGE_S = 60


def remember(resp: Response, gif_id: str) -> None:
    """Have the next page show the notice about a GIF."""
    resp.set_cookie(
        COOKIE, gif_id, max_age=MAX_AGE_S, path="/", http_only=True, same_site="Lax", secure=False
    )


async def thrown_away(context: Context, req: Request, resp: Response, viewer: Viewer) -> Gif | None:
    """The GIF that the notice on this page is about; None without a notice."""
    sent = req.get_cookie_values(COOKIE)
    if not sent:
        return None
    resp.unset_cookie(COOKIE, path="/", same_site="Lax")

    def work() -> Gif | None:
        try:
            gif = library.get_gif(sent[0], viewer)
        except library.NotFound:
            return None
        return None if gif.trashed_at is None else gif

    return await context.run(work)
