"""The addresses of the library, each with its resource and the suffix of its methods.

The rooms `direct`, `dropin`, `sharing` and `sign_in` have theirs in a module of the same name.
"""

import falcon.asgi
from falcon.asgi import Request, Response

from gifster.api import health, jobs, moderation, search
from gifster.api.accounts import OneToken, OwnAccount, Tokens, Users
from gifster.api.collections import CollectedGif, Collections, OneCollection
from gifster.api.context import Context
from gifster.api.direct.routes import direct
from gifster.api.dropin import routes as dropin
from gifster.api.duplicates import Duplicates
from gifster.api.files import Files
from gifster.api.gifs import GifImage, Gifs, OneGif
from gifster.api.live import Cards, Events, Watch
from gifster.api.metrics import Metrics
from gifster.api.mine import OneFavourite, OwnList, Trash, own_favourites, own_gifs
from gifster.api.openapi import OpenApi
from gifster.api.pages.account import own
from gifster.api.pages.account.invitations import InvitationsPage
from gifster.api.pages.account.mailed import Confirm, Forgot, Invited, NewPassword
from gifster.api.pages.accounts import LogIn, LogOut, SignUp
from gifster.api.pages.api import ApiPage
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
from gifster.api.pages.people import FORMS as OF_PERSON
from gifster.api.pages.people import PeoplePage, PersonPage
from gifster.api.pages.tags import TagsPage
from gifster.api.sharing.routes import sharing
from gifster.api.sign_in.routes import routes as sign_in
from gifster.api.trash import GifTrash

Route = tuple[str, object, str]


def routes(
    app: falcon.asgi.App[Request, Response], context: Context, watch: Watch, media: Files
) -> list[Route]:
    """All routes.

    Parameters:
      app: gets the handlers of errors, and the sinks, of the rooms that have some.
      media: the files of the store.
    """
    return [
        *_programs(context),
        *_scripts(context, watch),
        *_pages(context),
        *_account_pages(context),
        *_moderation_pages(context),
        *sign_in(context),
        *sharing(context, media),
        *direct(app, context),
        *dropin.routes(app, context),
    ]


def _programs(context: Context) -> list[Route]:
    terms = search.Terms(context)
    return [
        ("/healthz", health.Health(), ""),
        ("/readyz", health.Readiness(context), ""),
        ("/api/gifs", Gifs(context), ""),
        ("/api/search/complete", terms, "complete"),
        ("/api/search/suggestions", terms, "suggestions"),
        ("/api/search/trending", terms, "trending"),
        ("/api/tags", search.Tags(context), ""),
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
        ("/openapi.json", OpenApi(context.settings.web.root_path), ""),
    ]


def _scripts(context: Context, watch: Watch) -> list[Route]:
    """What the scripts of the pages ask."""
    return [
        ("/events", Events(watch), ""),
        ("/cards", Cards(context, watch), ""),
        ("/duplicates", Duplicates(context), ""),
    ]


def _pages(context: Context) -> list[Route]:
    gallery, gif_page, log_out = Gallery(context), GifForms(context), LogOut(context)
    return [
        ("/tags", TagsPage(context), ""),
        ("/api", ApiPage(context), ""),
        ("/", gallery, ""),
        ("/gifs", gallery, "upload"),
        ("/gifs/{gif_id}", gif_page, ""),
        ("/gifs/{gif_id}/card", gif_page, "card"),
        *((f"/gifs/{{gif_id}}/{form}", gif_page, form) for form in FORMS),
        ("/gifs/{gif_id}/edit", EditPage(context), ""),
        ("/gifs/{gif_id}/collect", CollectGif(context), "collect"),
        ("/gifs/{gif_id}/uncollect", CollectGif(context), "uncollect"),
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
        ("/logout", log_out, ""),
        ("/logout/everywhere", log_out, "everywhere"),
        ("/jobs", JobsPage(context), ""),
    ]


def _moderation_pages(context: Context) -> list[Route]:
    return [
        ("/gifs/{gif_id}/report", ReportForm(context), ""),
        ("/gifs/{gif_id}/moderate", ModerateForm(context), ""),
        ("/moderation", ReportsPage(context), ""),
        ("/moderation/hidden", HiddenPage(context), ""),
        ("/moderation/log", LogPage(context), ""),
    ]


def _account_pages(context: Context) -> list[Route]:
    """The routes of people's accounts, and of the links in mails."""
    account, confirm, password = own.AccountPage(context), Confirm(context), NewPassword(context)
    invitations, person = InvitationsPage(context), PersonPage(context)
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
        ("/people", PeoplePage(context), ""),
        ("/people/{user_id}", person, ""),
        *((f"/people/{{user_id}}/{form}", person, form.replace("-", "_")) for form in OF_PERSON),
    ]
