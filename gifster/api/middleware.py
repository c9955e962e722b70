"""What every request meets: headers for browsers, and the methods of fixed files. Hosts and foreign
forms are in `hosts`."""

from typing import Any
from urllib.parse import urlsplit

import falcon

from gifster.app.boot import MEDIA
from gifster.app.settings import Storage

STATIC = "/static"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:{media}; media-src 'self'{media}; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: Whatever somebody managed to upload: it is shown as what it is, and nothing in it runs.
MEDIA_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class Headers:
    """Security and caching headers.

    Parameters:
      store: where images are, if not here.
    """

    def __init__(self, store: Storage) -> None:
        origins = "".join(f" {origin}" for origin in _origins(store))
        self._page_policy = PAGE_POLICY.format(media=origins)

    async def process_response(self, req: Any, resp: Any, resource: Any, succeeded: bool) -> None:
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "same-origin")
        if req.path.startswith(MEDIA + "/"):
            resp.set_header("Content-Security-Policy", MEDIA_POLICY)
            resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
            if succeeded:
                # A key names one content for ever: a new image gets new keys.
                resp.set_header("Cache-Control", "public, max-age=31536000, immutable")
        else:
            resp.set_header("Content-Security-Policy", self._page_policy)
            resp.set_header("Cross-Origin-Opener-Policy", "same-origin")
            resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
            resp.set_header("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
            # Static files are asked for again each time (304), so that no page of a new release
            # runs the script of the old one.
            static = req.path.startswith(STATIC + "/")
            resp.set_header("Cache-Control", "no-cache" if static else "no-store")


def _origins(store: Storage) -> list[str]:
    """Where else than here a browser fetches images from."""
    endpoint_url = store.endpoint_url
    if store.addressing == "virtual":
        endpoint_url = endpoint_url.replace("://", f"://{store.bucket}.")
    urls = [url for url in (store.base_url, endpoint_url) if url.startswith("http")]
    if store.kind == "s3" and not urls:
        region = store.region or "*"
        urls = [f"https://{store.bucket}.s3.{region}.amazonaws.com",
                f"https://{store.bucket}.s3.amazonaws.com"]  # fmt: skip
    return [f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls]


class FixedFiles:
    """Falcon's static routes answer any method; files are only read."""

    async def process_request(self, req: Any, resp: Any) -> None:
        fixed = req.path.startswith((MEDIA + "/", STATIC + "/"))
        if fixed and req.method not in SAFE_METHODS:
            raise falcon.HTTPMethodNotAllowed(sorted(SAFE_METHODS))
