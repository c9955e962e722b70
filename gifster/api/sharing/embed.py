"""`/embed/{id}`: a GIF in somebody else's page, in a frame.

It is the only page that may be framed. It has no scripts, and its style is part of it, since a
frame with `sandbox` may load no style of ours. Whoever looks at it is a stranger: cookies do not
count here.
"""

import base64
import hashlib

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.context import Context
from gifster.api.gifs import one_json
from gifster.api.middleware import image_origins
from gifster.app import library

STYLE = """
html, body { height: 100%; margin: 0; background: transparent; }
a { display: block; height: 100%; }
img { display: block; width: 100%; height: 100%; object-fit: contain; }
a:focus-visible { outline: 3px solid Highlight; outline-offset: -3px; }
p { margin: 0; padding: 1em; font: 1rem/1.4 system-ui, sans-serif; }
p { color: CanvasText; background: Canvas; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    "default-src 'none'; img-src 'self' data:{images}; style-src 'sha256-{style}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *"
)


class Embed:
    """The page for frames."""

    def __init__(self, context: Context) -> None:
        self.context = context
        images = "".join(f" {origin}" for origin in image_origins(context.settings.store))
        self._policy = POLICY.format(images=images, style=_HASH)
        self._template = context.templates.get_template("embed.html")

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        def work() -> schemas.Gif | None:
            try:
                return one_json(library.get_gif(gif_id))
            except library.NotFound:
                return None  # browsers show nothing of an error page that no site may frame

        gif = await self.context.run(work)
        resp.status = falcon.HTTP_404 if gif is None else falcon.HTTP_200
        resp.text = self._template.render(gif=gif, style=STYLE)
        resp.content_type = falcon.MEDIA_HTML
        resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        resp.set_header("Content-Security-Policy", self._policy)
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Robots-Tag", "noindex")  # search engines shall list the GIF's page
