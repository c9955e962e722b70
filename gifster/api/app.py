"""The application put together: what each request meets, the `routes`, and the files. `build()` is
what the server calls."""

from functools import partial

import falcon.asgi
from falcon.asgi import Request, Response
from falcon.media import JSONHandler
from pydantic_core import to_json

from gifster.api import problems
from gifster.api.access_log import Noted, logged
from gifster.api.adapter import Application, adapted
from gifster.api.assets import JOBS_STATIC, STATIC, STATIC_FOLDER, Digests
from gifster.api.compression import Compression
from gifster.api.context import Context
from gifster.api.draining import Draining
from gifster.api.dropin import routes as dropin
from gifster.api.dropin.access import CrossOrigin
from gifster.api.dropin.envelopes import ENVELOPES
from gifster.api.files import Files
from gifster.api.live import Watch
from gifster.api.media import MediaAccess
from gifster.api.members import MembersOnly
from gifster.api.metrics import RequestMetrics, count_together
from gifster.api.middleware import FixedFiles, Headers, Hosts, WellFormed
from gifster.api.pages.page import header_of
from gifster.api.root_path import below
from gifster.api.routes import routes
from gifster.api.same_origin import SameOrigin
from gifster.api.traced import RouteOfSpan, traced
from gifster.app import tracing
from gifster.app.boot import MEDIA, boot
from gifster.app.logs import log_to_stderr
from gifster.app.settings import Settings, load
from gifster.jobs.page import rendering
from gifster.jobs.parent import end_with_parent
from gifster.uploads.config import away_in_use, storage

#: Types as which browsers may show stored files. SVG is not among them: it can have scripts.
SHOWN = ("image/gif", "image/png", "image/jpeg", "image/webp", "image/avif", "video/")


def create_app(settings: Settings) -> falcon.asgi.App[Request, Response]:
    """The ASGI application. The process must have been booted."""
    context = Context(settings)
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App(
        middleware=[
            RequestMetrics(),
            Compression(),
            Digests(),
            Headers(settings.store, members_only=context.members_only),
            CrossOrigin(),
            Hosts(settings.web),
            FixedFiles(),
            SameOrigin(context, dropin.OPEN_POSTS),
            WellFormed(),
            MembersOnly(context),
        ]
    )
    if settings.web.access_log:
        app.add_middleware(Noted(settings.web))
    if tracing.provider() is not None:
        app.add_middleware(RouteOfSpan())
    app.resp_options.static_media_types = {
        **app.resp_options.static_media_types,
        ".webp": "image/webp",
        ".webmanifest": "application/manifest+json",
    }
    # Three times as quick as Python's encoder; a list of 30 GIFs has 70 kB.
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=to_json)
    problems.install(app, context, ENVELOPES, header=header_of)
    media = _serve_files(app, context)
    watch = Watch(context)
    app.add_middleware([watch, Draining(context.readiness)])
    for path, resource, suffix in routes(app, context, watch, media):
        _answer_head(resource, suffix)
        app.add_route(path, resource, suffix=suffix or None)
    return app


def _serve_files(app: falcon.asgi.App[Request, Response], context: Context) -> Files:
    """Add the sinks of all files. Returns that of the store, which has no paths if its URLs lead to
    a bucket."""
    settings = context.settings
    # Some installers make a package of symbolic links.
    static = Files(f"{STATIC}/", STATIC_FOLDER, context.read, follow_links=True)
    app.add_sink(static, f"{STATIC}/")
    # After `static`: Falcon asks the sink first that was added last.
    of_jobs = Files(f"{JOBS_STATIC}/", rendering.STATIC, context.read, follow_links=True)
    app.add_sink(of_jobs, f"{JOBS_STATIC}/")
    root = settings.store.root.absolute()
    source = root if settings.store.kind == "local" else storage("store")
    access = MediaAccess(context)
    media = Files(
        f"{MEDIA}/",
        source,
        context.read,
        types=SHOWN,
        check=access,
        away=partial(away_in_use, "store"),
    )
    if settings.store.kind != "s3":
        app.add_sink(media, f"{MEDIA}/")
    return media


def _answer_head(resource: object, suffix: str) -> None:
    """Every resource that answers GET answers HEAD (RFC 9110, 9.1); Falcon leaves the body out."""
    end = f"_{suffix}" if suffix else ""
    get = getattr(resource, f"on_get{end}", None)
    if get and not hasattr(resource, f"on_head{end}"):
        setattr(resource, f"on_head{end}", get)


def build() -> Application:
    """The application of one web process, from settings and environment alone."""
    log_to_stderr()
    count_together()
    settings = load()
    boot(settings)
    end_with_parent()
    application = adapted(
        below(create_app(settings), settings.web.root_path), settings.web.body_stall_s
    )
    if settings.web.access_log:
        application = logged(application)
    provider = tracing.provider()
    return application if provider is None else traced(application, settings, provider)
