"""The application put together, every route in one place; `build()` is what the server calls."""

import falcon.asgi
from falcon.asgi import Request, Response
from falcon.media import JSONHandler
from pydantic_core import to_json

from gifster.api import health, jobs, moderation, problems, search
from gifster.api.access_log import Noted, logged
from gifster.api.accounts import OneToken, OwnAccount, Tokens, Users
from gifster.api.adapter import Application, adapted
from gifster.api.assets import JOBS_STATIC, STATIC, STATIC_FOLDER, Digests
from gifster.api.collections import CollectedGif, Collections, OneCollection
from gifster.api.compression import Compression
from gifster.api.context import Context
from gifster.api.direct.routes import direct
from gifster.api.draining import Draining
from gifster.api.dropin import routes as dropin
from gifster.api.dropin.access import CrossOrigin
from gifster.api.dropin.envelopes import ENVELOPES
from gifster.api.duplicates import Duplicates
from gifster.api.files import Files
from gifster.api.gifs import GifImage, Gifs, OneGif
from gifster.api.live import Cards, Events, Watch
from gifster.api.media import MediaAccess
from gifster.api.members import MembersOnly
from gifster.api.metrics import Metrics, RequestMetrics
from gifster.api.middleware import FixedFiles, Headers, Hosts, SameOrigin, WellFormed
from gifster.api.mine import OneFavourite, OwnList, Trash, own_favourites, own_gifs
from gifster.api.openapi import OpenApi
from gifster.api.pages.account import own
from gifster.api.pages.account.invitations import InvitationsPage
from gifster.api.pages.account.mailed import Confirm, Forgot, Invited, NewPassword
from gifster.api.pages.accounts import LogIn, LogOut, SignUp
from gifster.api.pages.collections import CollectGif, CollectionPage, CollectionsPage
from gifster.api.pages.edit import EditPage
from gifster.api.pages.gallery import Gallery
from gifster.api.pages.gif_forms import FORMS, GifForms
from gifster.api.pages.jobs import JobsPage
from gifster.api.pages.moderation import (
    HiddenPage,
    LogPage,
    ModerateForm,
    ReportForm,
    ReportsPage,
)
from gifster.api.pages.own import OwnPage, TrashPage
from gifster.api.pages.tags import TagsPage
from gifster.api.root_path import below
from gifster.api.sharing.routes import sharing
from gifster.api.sign_in.routes import routes as sign_in
from gifster.api.traced import RouteOfSpan, traced
from gifster.api.trash import GifTrash
from gifster.app import tracing
from gifster.app.boot import MEDIA, boot
from gifster.app.logs import log_to_stderr
from gifster.app.settings import Settings, load
from gifster.jobs.page import rendering
from gifster.jobs.parent import end_with_parent
from gifster.uploads.config import storage

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
            SameOrigin(settings.web, dropin.OPEN_POSTS),
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
    problems.install(app, context, ENVELOPES)
    media = _serve_files(app, context)
    watch = Watch(context)
    app.add_middleware([watch, Draining(context.readiness)])
    gallery, gif_page = Gallery(context), GifForms(context)
    log_out, terms = LogOut(context), search.Terms(context)
    for path, resource, suffix in [
        ("/healthz", health.Health(), ""),
        ("/readyz", health.Readiness(context), ""),
        ("/api/gifs", Gifs(context), ""),
        ("/api/search/complete", terms, "complete"),
        ("/api/search/suggestions", terms, "suggestions"),
        ("/api/search/trending", terms, "trending"),
        ("/api/tags", search.Tags(context), ""),
        ("/tags", TagsPage(context), ""),
        ("/api/gifs/{gif_id}", OneGif(context), ""),
        ("/api/gifs/{gif_id}/image", GifImage(context), ""),
        ("/api/gifs/{gif_id}/trash", GifTrash(context), ""),
        ("/api/gifs/{gif_id}/restore", GifTrash(context), "restore"),
        ("/api/gifs/{gif_id}/reports", moderation.GifReports(context), ""),
        ("/api/gifs/{gif_id}/moderation", moderation.GifModeration(context), ""),
        ("/api/reports", moderation.Reports(context), ""),
        ("/api/reports/{report_id}", moderation.OneReport(context), ""),
        ("/api/moderation/hidden", moderation.HiddenGifs(context), ""),
        ("/api/moderation/log", moderation.ModerationLog(context), ""),
        ("/api/mine", OwnList(context, own_gifs), ""),
        ("/api/trash", Trash(context), ""),
        ("/api/favourites", OwnList(context, own_favourites), ""),
        ("/api/favourites/{gif_id}", OneFavourite(context), ""),
        ("/api/collections", Collections(context), ""),
        ("/api/collections/{collection_id}", OneCollection(context), ""),
        ("/api/collections/{collection_id}/gifs/{gif_id}", CollectedGif(context), ""),
        ("/api/users", Users(context), ""),
        ("/api/account", OwnAccount(context), ""),
        ("/api/tokens", Tokens(context), ""),
        ("/api/tokens/{token_id}", OneToken(context), ""),
        ("/api/jobs", jobs.Jobs(context), ""),
        ("/api/jobs/{job_id}", jobs.OneJob(context), ""),
        ("/api/jobs/{job_id}/retry", jobs.OneJob(context), "retry"),
        ("/api/queues", jobs.Queues(context), ""),
        ("/api/queues/{queue}", jobs.OneQueue(context), ""),
        ("/api/workers", jobs.Workers(context), ""),
        ("/api/workers/{worker_id}", jobs.OneWorker(context), ""),
        ("/api/stats", jobs.Stats(context), ""),
        ("/metrics", Metrics(context), ""),
        ("/openapi.json", OpenApi(settings.web.root_path), ""),
        ("/events", Events(watch), ""),
        ("/cards", Cards(context, watch), ""),
        ("/duplicates", Duplicates(context), ""),
        ("/", gallery, ""),
        ("/gifs", gallery, "upload"),
        ("/gifs/{gif_id}", gif_page, ""),
        ("/gifs/{gif_id}/card", gif_page, "card"),
        *((f"/gifs/{{gif_id}}/{form}", gif_page, form) for form in FORMS),
        ("/gifs/{gif_id}/edit", EditPage(context), ""),
        *sharing(context, media),
        *direct(app, context),
        ("/gifs/{gif_id}/collect", CollectGif(context), "collect"),
        ("/gifs/{gif_id}/uncollect", CollectGif(context), "uncollect"),
        ("/gifs/{gif_id}/report", ReportForm(context), ""),
        ("/gifs/{gif_id}/moderate", ModerateForm(context), ""),
        ("/moderation", ReportsPage(context), ""),
        ("/moderation/hidden", HiddenPage(context), ""),
        ("/moderation/log", LogPage(context), ""),
        ("/collections", CollectionsPage(context), ""),
        ("/collections/{collection_id}", CollectionPage(context), ""),
        ("/collections/{collection_id}/edit", CollectionPage(context), "edit"),
        ("/collections/{collection_id}/delete", CollectionPage(context), "delete"),
        ("/mine", OwnPage(context, "mine", own_gifs), ""),
        ("/favourites", OwnPage(context, "favourites", own_favourites), ""),
        ("/trash", TrashPage(context), ""),
        ("/trash/empty", TrashPage(context), "empty"),
        ("/signup", SignUp(context), ""),
        ("/login", LogIn(context), ""),
        *account_pages(context),
        *sign_in(context),
        ("/logout", log_out, ""),
        ("/logout/everywhere", log_out, "everywhere"),
        ("/jobs", JobsPage(context), ""),
        *dropin.routes(app, context),
    ]:
        _answer_head(resource, suffix)
        app.add_route(path, resource, suffix=suffix or None)
    return app


def account_pages(context: Context) -> list[tuple[str, object, str]]:
    """The routes of people's accounts, and of the links in mails."""
    account, confirm, password = own.AccountPage(context), Confirm(context), NewPassword(context)
    invitations = InvitationsPage(context)
    return [
        ("/account", account, ""),
        *((f"/account/{form}", account, form) for form in own.FORMS),
        ("/account/exports/{export_id}", own.ExportFile(context), ""),
        ("/account/leave", own.Leave(context), ""),
        ("/forgot", Forgot(context), ""),
        ("/password", password, ""),
        ("/password/{secret}", password, "secret"),
        ("/confirm", confirm, ""),
        ("/confirm/again", confirm, "again"),
        ("/confirm/{secret}", confirm, "secret"),
        ("/invitation/{secret}", Invited(context), ""),
        ("/invitations", invitations, ""),
        ("/invitations/revoke", invitations, "revoke"),
    ]


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
    media = Files(f"{MEDIA}/", source, context.read, types=SHOWN, check=access)
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
