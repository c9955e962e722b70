"""The application put together, every route in one place; `build()` is what the server calls."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import falcon.asgi

from gifster.api import health, pages, problems
from gifster.api.context import Context
from gifster.api.gifs import GifImage, Gifs, OneGif
from gifster.api.live import Events
from gifster.api.middleware import STATIC, FixedFiles, Headers, SameOrigin
from gifster.api.users import Users
from gifster.boot import MEDIA, boot, log_to_stderr
from gifster.jobs.parent import end_with_parent
from gifster.settings import Settings, load

STATIC_FOLDER = Path(__file__).parent / "static"


def create_app(settings: Settings) -> falcon.asgi.App[Any, Any]:
    """The ASGI application. The process must have been booted."""
    context = Context(settings)
    app: falcon.asgi.App[Any, Any] = falcon.asgi.App(
        middleware=[Headers(), FixedFiles(), SameOrigin()]
    )
    app.resp_options.static_media_types = {
        **app.resp_options.static_media_types,
        ".webp": "image/webp",
    }
    problems.install(app, context)
    app.add_static_route(STATIC, STATIC_FOLDER.as_posix())
    app.add_static_route(MEDIA, settings.store.root.absolute().as_posix())
    app.add_route("/healthz", health.Health())
    app.add_route("/readyz", health.Readiness(context))
    app.add_route("/api/gifs", Gifs(context))
    app.add_route("/api/gifs/{gif_id}", OneGif(context))
    app.add_route("/api/gifs/{gif_id}/image", GifImage(context))
    app.add_route("/api/users", Users(context))
    events = Events(context)
    app.add_middleware(events)
    app.add_route("/events", events)
    app.add_route("/", pages.Gallery(context))
    app.add_route("/gifs", pages.Gallery(context), suffix="upload")
    app.add_route("/gifs/{gif_id}", pages.GifPage(context))
    app.add_route("/gifs/{gif_id}/card", pages.GifPage(context), suffix="card")
    app.add_route("/gifs/{gif_id}/delete", pages.GifPage(context), suffix="delete")
    app.add_route("/signup", pages.SignUp(context))
    app.add_route("/login", pages.LogIn(context))
    app.add_route("/logout", pages.LogOut(context))
    return app


def build() -> Callable[..., Awaitable[None]]:
    """The application of one web process, from settings and environment alone."""
    log_to_stderr()
    settings = load()
    boot(settings)
    end_with_parent()
    return _adapted(create_app(settings))


def _adapted(app: falcon.asgi.App[Any, Any]) -> Callable[..., Awaitable[None]]:
    """The application with two differences between granian and Falcon smoothed out."""

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope.get("http_version") == "1":  # granian's word for 1.0, which Falcon refuses
            scope["http_version"] = "1.0"
        await app(scope, _at_once(receive) if scope["type"] == "http" else receive, send)

    return serve


def _at_once(receive: Any) -> Any:
    """Falcon waits for the first piece of a body before it does anything. A body that never begins
    would be out of reach of `receive.guarded()`, so we begin it, with nothing."""
    begun = False

    async def receive_at_once() -> Any:
        nonlocal begun
        if begun:
            return await receive()
        begun = True
        return {"type": "http.request", "body": b"", "more_body": True}

    return receive_at_once
