"""The answers of the HTTP API, each shape written once; `requests` has what clients send.

`/openapi.json` is made of both. Answers are `TypedDict`s, which cost nothing at run time: mypy and
the tests hold the answers against them.
"""

from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # Pydantic takes Python's own from 3.12 on
)

from pydantic import Field
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from gifster.app.moderation.log import Action
from gifster.app.moderation.reports import ReportReason, Verdict
from gifster.app.moderation.roles import Role
from gifster.app.texts import Rating, Visibility
from gifster.app.tokens import Kind, Scope
from gifster.jobs import State


def told(description: str | None = None, **schema: Any) -> FieldInfo:
    """Facts about a field for the document, which Pydantic does not check.

    Parameters:
      description: for people.
      schema: keywords of JSON Schema.
    """
    made: FieldInfo = Field(description=description, json_schema_extra=schema)
    return made


Count = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=0, description="Pixels.")]
Moment = Annotated[str, told(format="date-time")]


class Version(TypedDict):
    """A version of a GIF, or its original."""

    url: Annotated[str, told("Absolute.", format="uri")]
    content_type: str
    bytes: Count
    width: Pixels
    height: Pixels


class Image(Version):
    """The stored original; of a GIF with an edit only for those who may change it. Others get what
    the edit selects."""

    frames: Annotated[
        Count, Field(description="For those who get what an edit selects, it is estimated.")
    ]
    duration_ms: Count
    loop: Annotated[
        int | None, Field(description="How often it is played; 0 is forever, null is once.")
    ]
    sha256: Annotated[
        str,
        told(
            "Empty if it is what an edit selects, and an early release made that.",
            pattern="^([0-9a-f]{64})?$",
        ),
    ]
    has_sound: NotRequired[
        Annotated[
            bool, Field(description="Only of a video: whether it has sound. No version has any.")
        ]
    ]


class Placeholder(TypedDict):
    """What to show until the image comes."""

    color: Annotated[str | None, Field(description="The most frequent colour: #rrggbb.")]
    thumbhash: Annotated[str | None, Field(description="ThumbHash of the first frame, in base64.")]


class Failure(TypedDict):
    """Why a GIF failed."""

    code: str
    message: str


class ResumableUpload(TypedDict):
    """An upload in several requests (tus)."""

    id: str
    filename: Annotated[str, Field(description="The client's name for the file.")]
    offset: Annotated[int, Field(ge=0, description="How many bytes are safe.")]
    length: Annotated[int, Field(ge=0, description="The size of the file (bytes).")]
    expires_at: Moment
    gif: Annotated[
        "WholeGif | None",
        Field(description="What became of it; null until the last byte has come."),
    ]
    error: Annotated[Failure | None, Field(description="Why it was refused; null if it was not.")]


class ResumableUploadList(TypedDict):
    """One's own unfinished uploads, the next one to expire first."""

    items: list[ResumableUpload]
    next: None


class PresignedUpload(TypedDict):
    """How to write one file directly into the cache, a bucket."""

    method: str
    url: Annotated[str, told("Signed.", format="uri")]
    headers: Annotated[dict[str, str], Field(description="To be sent; they are signed, too.")]
    fields: Annotated[
        dict[str, str],
        Field(description="Of the form, before its field `file`; empty unless `method` is POST."),
    ]
    image_cache: Annotated[
        str, Field(description="The field of POST /api/gifs that then replaces `image`.")
    ]
    expires_at: Moment


class Person(TypedDict):
    """What everybody may know of a user."""

    id: str
    name: str


class Crop(TypedDict):
    """A box of the upright original."""

    x: Pixels
    y: Pixels
    width: Pixels
    height: Pixels


class Edit(TypedDict):
    """Which part of the original the versions show."""

    start: Annotated[float | None, Field(description="Seconds; null is the beginning.")]
    end: Annotated[float | None, Field(description="Seconds; null is the end.")]
    fps: Annotated[
        float | None, Field(description="The most frames a second; null is as many as there are.")
    ]
    crop: Annotated[Crop | None, Field(description="null is the whole picture.")]


class Gif(TypedDict):
    """A GIF in a list."""

    id: str
    title: str
    tags: list[str]
    alt_text: Annotated[
        str,
        Field(description="What the picture shows, for people who do not see it; may be empty."),
    ]
    rating: Annotated[str, told(enum=list(Rating))]
    visibility: Annotated[str, told(enum=list(Visibility))]
    hidden: Annotated[
        bool,
        Field(description="Whether a moderator has hidden it; it is private as long as it is."),
    ]
    user: Annotated[Person | None, Field(description="Who uploaded it; null if nobody knows.")]
    state: Literal["queued", "processing", "ready", "failed"]
    created_at: Moment
    trashed_at: Annotated[
        Moment | None, Field(description="Since when it is in the trash; null if it is not.")
    ]
    edit: Annotated[
        Edit | None,
        Field(
            description="What is done to the original before the versions are made; null for those "
            "who may not change the GIF."
        ),
    ]
    image: Annotated[
        Image | None,
        Field(description="null until it is stored, or what an edit selects is made."),
    ]
    versions: dict[str, Version]
    placeholder: Placeholder | None
    error: Failure | None
    duplicate_of: Annotated[
        str | None, Field(description="The id of an older GIF that is the same file.")
    ]


class WholeGif(Gif):
    """A GIF by itself."""

    similar: Annotated[list[str], Field(description="The ids of near duplicates.")]


class GifList(TypedDict):
    """A page of GIFs."""

    items: list[Gif]
    next: str | None


class Collection(TypedDict):
    """A collection of GIFs."""

    id: str
    name: str
    visibility: Annotated[str, told(enum=list(Visibility))]
    user: Person
    created_at: Moment
    size: Annotated[Count, Field(description="How many of its GIFs you see.")]


class CollectionList(TypedDict):
    """One's own collections."""

    items: list[Collection]
    next: None


class ReportedGif(TypedDict):
    """The GIF of a report."""

    id: str
    title: str


class Report(TypedDict):
    """A report of a GIF."""

    id: str
    gif: Annotated[ReportedGif | None, Field(description="null if its owner made it private.")]
    user_id: Annotated[str | None, Field(description="null for somebody without an account.")]
    reason: Annotated[str, told(enum=list(ReportReason))]
    text: str
    created_at: Moment
    closed_at: Moment | None
    verdict: Annotated[str | None, told(enum=[*Verdict, None])]


class ReportList(TypedDict):
    """A page of open reports."""

    items: list[Report]
    next: str | None


class Moderator(TypedDict):
    """Who did something."""

    id: Annotated[str | None, Field(description="null for a command, and for a deleted account.")]
    name: Annotated[str, Field(description="The name at that time; empty for a command.")]


class ModerationEntry(TypedDict):
    """An entry of the log of moderation."""

    id: str
    at: Moment
    moderator: Moderator
    action: Annotated[str, told(enum=list(Action))]
    gif_id: str | None
    user_id: Annotated[
        str | None, Field(description="The owner of the GIF, or the account with another role.")
    ]
    subject: Annotated[str, Field(description="The title of the GIF, or the name of the account.")]
    reason: str
    changes: Annotated[
        dict[str, list[Any]],
        Field(
            description="The values before and after, by the name of the field; long texts are cut."
        ),
    ]


class ModerationLog(TypedDict):
    """A page of the log."""

    items: list[ModerationEntry]
    next: str | None


class Tag(TypedDict):
    """A tag."""

    name: str
    count: Annotated[
        int, Field(ge=0, description="How many GIFs have it; above 64 it is estimated.")
    ]


class TagList(TypedDict):
    """Tags, the most frequent first."""

    items: list[Tag]


class Terms(TypedDict):
    """What people may be going to search for."""

    items: list[str]


class Amount(TypedDict):
    """GIFs and their size."""

    gifs: Count
    bytes: Annotated[Count, Field(description="As they were uploaded; versions do not count.")]


class Account(TypedDict):
    """One's own account."""

    id: str
    name: str
    email: str
    confirmed: Annotated[bool, Field(description="Whether its user has confirmed the address.")]
    new_email: Annotated[
        str | None, Field(description="The address that takes its place once it is confirmed.")
    ]
    role: Annotated[str, told(enum=list(Role))]
    created_at: Moment
    used: Amount
    quota: Annotated[Amount | None, Field(description="null for no quota.")]


class NewUser(TypedDict):
    """A new account, as its user may see it."""

    id: str
    name: str
    email: str
    token: Annotated[
        str | None,
        Field(
            description="An API token of the scope `admin`. null where the address must be "
            "confirmed first (auth.confirm_emails)."
        ),
    ]


class Token(TypedDict):
    """A session or a token, as its user may see it."""

    id: str
    kind: Annotated[str, told("A browser's, or a program's.", enum=list(Kind))]
    name: Annotated[str, Field(description="Empty for a session.")]
    scope: Annotated[str, told(enum=list(Scope))]
    created_at: Moment
    last_used_at: Annotated[Moment | None, Field(description="To the hour.")]
    expires_at: Moment | None
    current: Annotated[bool, Field(description="Whether this request was made with it.")]


class NewToken(Token):
    """A new token with its secret."""

    token: Annotated[str, Field(description="The secret.")]


class TokenList(TypedDict):
    """All sessions and tokens of a user."""

    items: list[Token]
    next: str | None


class Revoked(TypedDict):
    """How many sessions and tokens ended."""

    revoked: Count


class Job(TypedDict):
    """A job that is not done."""

    id: str
    state: Annotated[str, told(enum=list(State))]
    actor: str
    queue: str
    group: str | None
    throttled: Annotated[bool, Field(description="Whether it waits because of its group.")]
    arguments: list[Any]
    created_at: Moment
    due_at: Moment | None
    started_at: Moment | None
    worker: str | None
    thread: str | None
    attempts: Count
    deaths: Count
    failed_at: Moment | None
    error: str | None
    traceback: str | None


class JobList(TypedDict):
    """A page of jobs."""

    items: list[Job]
    next: str | None


class Queue(TypedDict):
    """A queue, with the number of its jobs in each state."""

    name: str
    weight: Count
    max: int | None
    paused: bool
    running: Count
    waiting: Count
    retrying: Count
    scheduled: Count
    dead: Count
    throttled: Annotated[Count, Field(description="How many of those that wait are throttled.")]
    oldest_s: Annotated[float, Field(description="How long the oldest has waited (seconds).")]


class QueueList(TypedDict):
    """All queues."""

    items: list[Queue]
    next: str | None


class Worker(TypedDict):
    """A worker process."""

    id: str
    host: str
    pid: Count
    queues: list[str]
    threads: Count
    busy: Count
    memory_bytes: Count
    started_at: Moment
    seen_at: Moment
    alive: bool
    clock_off_s: Annotated[
        float | None,
        Field(description="How far the clock of its machine is ahead of the database's."),
    ]
    quiet: bool


class WorkerList(TypedDict):
    """All worker processes."""

    items: list[Worker]
    next: str | None


class Span(TypedDict):
    """What was done in a minute, an hour or a day."""

    begin: Moment
    done: Count
    failed: Count


class RecurringJob(TypedDict):
    """A recurring job."""

    name: str
    rule: str
    next_at: Moment
    last_at: Moment | None


class Stats(TypedDict):
    """How much was done, and what recurs."""

    done: Count
    failed: Count
    history: list[Span]
    recurring: list[RecurringJob]


class Health(TypedDict):
    """This process answers."""

    status: Literal["ok"]


class Readiness(TypedDict):
    """What this process needs."""

    status: Literal["ok", "unavailable", "stopping"]
    checks: dict[str, str]


class Problem(TypedDict):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: Annotated[str, told(pattern="^[a-z_]+$")]
