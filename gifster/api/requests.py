"""The bodies and queries that clients send, each shape written once; `/openapi.json` has them too.

The models refuse unknown fields and fields of the wrong type; unknown parameters of a query change
nothing. The application checks the length of texts and the range of values, since the command line
needs the same; here those limits are only documented.
"""

import re
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gifster.api.edit_schema import EditObject
from gifster.api.receive import MAX_URL
from gifster.api.schemas import told
from gifster.api.validation import Body, Form, Sent
from gifster.app import addresses, edits, lists, search, texts
from gifster.app.editing import EditChange
from gifster.app.errors import BadQuery
from gifster.app.models import ImageUploader
from gifster.app.moderation import hiding
from gifster.app.moderation.reports import ReportReason, Verdict
from gifster.app.texts import Rating, Visibility
from gifster.app.tokens import MAX_DAYS, Scope
from gifster.jobs import State, admin
from gifster.jobs.wording import wrong

TITLE: dict[str, str | int] = {
    "description": "Without control characters.",
    "maxLength": texts.MAX_TITLE,
}
Title = Annotated[str, told(**TITLE)]
Tag = Annotated[str, told("Without control characters.", maxLength=texts.MAX_TAG)]
Tags = Annotated[list[Tag], Field(fail_fast=True, json_schema_extra={"maxItems": texts.MAX_TAGS})]


AltText = Annotated[
    str, told("What the picture shows, for people who do not see it.", maxLength=texts.MAX_ALT_TEXT)
]
_RATINGS: dict[str, str | list[str]] = {"description": "Whom it suits.", "enum": list(Rating)}
_VISIBILITIES: dict[str, str | list[str]] = {
    "description": "Who sees it: everybody, those who know its address, or its owner.",
    "enum": list(Visibility),
}
RatingText = Annotated[str, told(**_RATINGS)]
VisibilityText = Annotated[str, told(**_VISIBILITIES)]


class _ImageFile:
    """The schema of an upload, made when the document is, as the limit comes from the settings."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        types = ", ".join(sorted(ImageUploader.allow_types))
        description = f"At most {ImageUploader.max_bytes:,} bytes of {types}."
        return {"type": "string", "format": "binary", "description": description}


File = Annotated[bytes, _ImageFile()]


class EditGif(Body):
    """New title, tags and so on. A null leaves the field as it is, but removes the edit."""

    refusals = {"tags": ("tags_invalid", "a list of texts")}
    title: Annotated[Title | None, told(minLength=1)] = None
    tags: Tags | None = None
    alt_text: AltText | None = None
    rating: RatingText | None = None
    visibility: VisibilityText | None = None
    edit: EditObject = None

    def edit_change(self) -> EditChange | None:
        """What the request wants to be done with the edit; None if it does not name it.

        Raises:
          Invalid: it names no edit.
        """
        if "edit" not in self.model_fields_set:
            return None
        edit = edits.read(self.edit)
        return lambda _present: edit


def _null_is(empty: object) -> BeforeValidator:
    return BeforeValidator(lambda sent: empty if sent is None else sent)


class PatchGif(EditGif):
    """New title, tags and so on, as a merge patch (RFC 7396): a null removes the tags, the
    alternative text, the edit or a part of it. Title, rating and visibility cannot be removed."""

    title: Annotated[
        Title | None, _null_is(""), WithJsonSchema(TITLE | {"minLength": 1, "type": "string"})
    ] = None
    tags: Annotated[Tags | None, _null_is([])] = None
    alt_text: Annotated[AltText | None, _null_is("")] = None
    rating: Annotated[
        RatingText | None, _null_is(""), WithJsonSchema(_RATINGS | {"type": "string"})
    ] = None
    visibility: Annotated[
        VisibilityText | None, _null_is(""), WithJsonSchema(_VISIBILITIES | {"type": "string"})
    ] = None

    def edit_change(self) -> EditChange | None:
        if "edit" not in self.model_fields_set:
            return None
        return lambda present: edits.read(edits.merged(present, self.edit))


class FetchGif(Body):
    """A GIF to be fetched from a URL."""

    refusals = {
        "remote_image_url": ("image_missing", "the URL of an image"),
        **EditGif.refusals,
    }
    remote_image_url: Annotated[
        str, told("An http or https URL of a public host.", maxLength=MAX_URL)
    ]
    title: Title | None = None
    tags: Tags | None = None
    alt_text: AltText | None = None
    rating: RatingText | None = None
    visibility: VisibilityText | None = None
    edit: EditObject = None


class Presign(Body):
    """A file that is going to be written into a bucket."""

    refusals = {
        "bytes": ("size_invalid", "the size of the file in bytes"),
        "filename": ("filename_invalid", "the name of the file"),
        "method": ("method_invalid", "PUT, or POST for a form"),
    }
    filename: Annotated[str, told(maxLength=1_000)]
    bytes: Annotated[int, Field(ge=0, le=2**53)]
    content_type: Annotated[str | None, told("As far as it is known.")] = None
    method: Annotated[
        Literal["PUT", "POST"], told("POST: by a form, whose file may also be smaller.")
    ] = "PUT"


class ReplaceImage(Form):
    """The form of a replacement."""

    image: File
    image_cache: Annotated[str, told("In the place of the image: the id of a kept file.")] = ""
    remote_image_url: Annotated[
        str, told("In the place of the image: its URL.", maxLength=MAX_URL)
    ] = ""


class UploadGif(ReplaceImage):
    """The form of an upload."""

    title: Title = ""
    tags: Annotated[str, told("Tags, separated by commas.")] = ""
    alt_text: AltText = ""
    rating: RatingText = Rating.G.value
    visibility: VisibilityText = Visibility.PUBLIC.value
    start: Annotated[str, told("Where the versions begin (seconds).")] = ""
    end: Annotated[str, told("Where the versions end (seconds).")] = ""
    fps: Annotated[str, told("The most frames a second: 1 to 60.")] = ""
    crop: Annotated[str, told("x,y,width,height in pixels of the upright original.")] = ""


class SignUp(Body):
    """A new account."""

    model_config = ConfigDict(json_schema_extra={"required": ["email", "password"]})
    email: Annotated[str, told(maxLength=addresses.MAX_ADDRESS)] = ""
    password: Annotated[str, told(minLength=texts.MIN_PASSWORD, maxLength=texts.MAX_PASSWORD)] = ""
    name: Annotated[str, told(maxLength=texts.MAX_NAME)] = ""
    invitation: Annotated[
        str, told("What follows /invitation/ in the link of an invitation, where one is needed.")
    ] = ""


class EditAccount(Body):
    """Another name."""

    model_config = ConfigDict(json_schema_extra={"required": ["name"]})
    name: Annotated[str, told(minLength=1, maxLength=texts.MAX_NAME)] = ""


class CreateToken(Body):
    """A new token."""

    model_config = ConfigDict(json_schema_extra={"required": ["name"]})
    refusals = {"expires_in_days": ("expires_in_days_invalid", "a whole number, or null")}
    name: Annotated[str, told(minLength=1, maxLength=texts.MAX_NAME)] = ""
    scope: Annotated[str, told(enum=list(Scope))] = Scope.WRITE.value
    expires_in_days: Annotated[
        int | None,
        told(
            "null: it holds until it is revoked. Left out: auth.token_days.",
            minimum=1,
            maximum=MAX_DAYS,
        ),
    ] = None


CollectionName = Annotated[str, told(minLength=1, maxLength=texts.MAX_NAME)]


class CreateCollection(Body):
    """A new collection."""

    model_config = ConfigDict(json_schema_extra={"required": ["name"]})
    name: CollectionName = ""
    visibility: VisibilityText = Visibility.PUBLIC.value


class EditCollection(Body):
    """Another name, visibility or order of a collection. A null leaves the field as it is."""

    refusals = {"first": ("first_invalid", "a list of ids")}
    name: CollectionName | None = None
    visibility: VisibilityText | None = None
    first: Annotated[
        list[str] | None,
        Field(fail_fast=True, description="The ids of the GIFs that come first, in their order."),
    ] = None


class ReportGif(Body):
    """Why a GIF should not be in the library."""

    reason: Annotated[str, told(enum=list(ReportReason))]
    text: Annotated[str | None, told("What else there is to say.", maxLength=texts.MAX_REASON)] = (
        None
    )


class ModerateGif(Body):
    """What a moderator does with a GIF."""

    action: Annotated[str, told(enum=list(hiding.ACTIONS))]
    reason: Annotated[str, told("Why.", minLength=1, maxLength=texts.MAX_REASON)] = ""


class CloseReport(Body):
    """What a moderator decides about a report."""

    verdict: Annotated[str, told(enum=list(Verdict))]
    reason: Annotated[str | None, told("Why.", maxLength=texts.MAX_REASON)] = None


class PauseQueue(Body):
    """Whether a queue is paused."""

    refusals = {"paused": ("field_invalid", "true or false")}
    paused: bool


class QuietWorker(Body):
    """Whether a worker is quiet."""

    refusals = {"quiet": ("field_invalid", "true or false")}
    quiet: bool


def _number(least: int, most: int) -> BeforeValidator:
    """The whole number that a parameter is; raises `BadQuery` for anything else."""

    def read(text: str, parameter: ValidationInfo) -> int:
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else None
        if number is None or not least <= number <= most:
            name = str(parameter.field_name)
            given = text if number is None else number
            raise BadQuery(f"{name}_invalid", wrong(name, given, f"{least} to {most}"))
        return number

    return BeforeValidator(read)


_LIMIT = _number(1, lists.MAX_LIMIT)
#: Of a list of tags.
MAX_OFFSET = 99_999


class Query(Sent):
    """The parameters of a list. Texts that are left out are empty."""

    cursor: Annotated[str, told("`next` of the previous page.")] = ""
    limit: Annotated[int, _LIMIT, told("How many.", minimum=1, maximum=lists.MAX_LIMIT)] = 30


class LogQuery(Query):
    """Which entries of the log to list."""

    gif: Annotated[str, told("Only entries about the GIF with this id.")] = ""


class GifQuery(Query):
    """Which GIFs to list."""

    q: Annotated[
        str, told("Words of titles, tags and alternative texts.", maxLength=texts.MAX_QUERY)
    ] = ""
    tag: Annotated[str, told("A whole tag.", maxLength=texts.MAX_TAG)] = ""
    collection: Annotated[
        str,
        told(
            "The id of a collection: its GIFs in its order. With q, user, type, rating or sort: "
            "those of them that a search finds."
        ),
    ] = ""
    user: Annotated[str, told("The id of the GIFs' owner.")] = ""
    type: Annotated[
        str, told("Moving GIFs, still ones, or those with transparency.", enum=["", *search.KINDS])
    ] = ""
    rating: Annotated[
        str, told("The highest rating that a GIF may have.", enum=["", *texts.Rating])
    ] = ""
    sort: Annotated[
        str, told("`relevance` if there is a `q`, else `newest`.", enum=["", *search.SORTS])
    ] = ""


class TermsQuery(Sent):
    """How many terms to list."""

    limit: Annotated[int, _LIMIT, told("How many.", minimum=1, maximum=lists.MAX_LIMIT)] = 10


class CompleteQuery(TermsQuery):
    """What to complete."""

    q: Annotated[str, told("What has been typed.", maxLength=texts.MAX_QUERY)] = ""


class TagQuery(Sent):
    """Which tags to list."""

    offset: Annotated[
        int,
        _number(0, MAX_OFFSET),
        told("How many to leave out.", minimum=0, maximum=MAX_OFFSET),
    ] = 0
    limit: Annotated[int, _LIMIT, told("How many.", minimum=1, maximum=lists.MAX_LIMIT)] = 100


class JobQuery(Query):
    """Which jobs to list."""

    model_config = ConfigDict(json_schema_extra={"required": ["state"]})
    state: Annotated[str, told("Which ones.", enum=list(State))] = ""
    queue: Annotated[str, told("Only the jobs of this queue.")] = ""
    q: Annotated[
        str,
        told(
            "A part of the actor, the arguments, the error or the group, or the id.",
            maxLength=admin.MAX_TEXT,
        ),
    ] = ""


class StatsQuery(Sent):
    """How far back statistics go."""

    span: Annotated[str, told("How far back the history goes.", enum=list(admin.HISTORIES))] = (
        "hour"
    )
