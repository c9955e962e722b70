"""`/openapi.json`: the HTTP API in OpenAPI 3.1. The paths are here; their requests and answers are
in `requests` and `schemas`.

The tests make requests from the document, and hold the answers against it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from falcon.asgi import Request, Response
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core.core_schema import TypedDictSchema, WithDefaultSchema
from typing_extensions import is_typeddict

from gifster import __version__
from gifster.api import requests, schemas
from gifster.api.bodies import JSON, MERGE_PATCH, MULTIPART
from gifster.api.validation import Sent
from gifster.app import texts

Json = dict[str, Any]

PROBLEMS = {
    400: "The request cannot be read, or makes no sense.",
    401: "Nobody is logged in, or the token is wrong, expired or revoked.",
    403: "It belongs to somebody else or to nobody, the token's scope is too narrow, the quota is "
    "used up, or another site's page sent it.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "Somebody was there first.",
    413: "The body or the file is too large.",
    415: "The media type or the file type is not accepted.",
    422: "A value is invalid; the code says which.",
    429: "Too many requests; try again later.",
    503: "Something that is needed is away or busy; try again. The code `unreadable` does not end "
    "by itself: the entry of what was asked for is damaged.",
    507: "There is no room left.",
}
#: The problems of any body, of any change of the database, and of any request that needs a user.
OF_BODIES, OF_CHANGES, OF_PEOPLE = (400, 408, 413, 415, 422), (409, 507), (401, 403)

#: Who may make a request: users; editors, who are anybody where the settings allow it; anybody.
USER: list[Json] = [{"token": []}]
EDITOR: list[Json] = [*USER, {}]
#: Anybody; people who are logged in also see what only they may see.
READER: list[Json] = [*USER, {}]
ANYBODY: list[Json] = []


@dataclass(frozen=True)
class Operation:
    """A method of a path.

    Parameters:
      name: the name in generated clients.
      summary: what it does, in a line.
      answer: the body of a success.
      problems: the statuses of its errors, beside those that follow from the other parameters.
      status: the status of a success.
      query: its parameters.
      bodies: the bodies that it accepts, by media type.
      may: who may make the request; None where that is not asked.
      headers: the headers of a success.
    """

    name: str
    summary: str
    answer: type | None
    problems: tuple[int, ...] = ()
    status: int = 200
    query: type[Sent] | None = None
    bodies: Mapping[str, type[Sent]] | None = None
    may: list[Json] | None = None
    headers: Json | None = None

    def document(self, method: str) -> Json:
        """The operation, with classes in place of their schemas."""
        answer: Json = {"description": self.summary}
        if self.answer is not None:
            answer["content"] = {JSON: {"schema": self.answer}}
        if self.headers is not None:
            answer["headers"] = self.headers
        responses: Json = {str(self.status): answer}
        for status in sorted(self._problems(method)):
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        made: Json = {"operationId": self.name, "summary": self.summary, "responses": responses}
        if self.query is not None:
            made["parameters"] = _parameters(self.query)
        if self.bodies is not None:
            content = {kind: {"schema": body} for kind, body in self.bodies.items()}
            made["requestBody"] = {"required": True, "content": content}
        if self.may is not None:
            made["security"] = self.may
        return made

    def _problems(self, method: str) -> set[int]:
        found = {*self.problems, *(OF_PEOPLE if self.may else ())}
        if found:  # the database has a part in it
            found |= {503, *(OF_BODIES if self.bodies else ())}
            found |= set(OF_CHANGES if method != "get" else ())
        return found


LOCATED = {"Location": {"required": True, "schema": {"type": "string"}}}
UPLOADS: dict[str, type[Sent]] = {MULTIPART: requests.UploadGif, JSON: requests.FetchGif}
CHANGES = {JSON: requests.EditGif, MERGE_PATCH: requests.PatchGif}

PATHS = {
    "/api/gifs": {
        "get": Operation("listGifs", "A page of GIFs", schemas.GifList, (400, 404),
                         query=requests.GifQuery, may=READER),
        "post": Operation("addGif", "Upload a GIF, or have it fetched", schemas.WholeGif, (429,),
                          202, bodies=UPLOADS, may=EDITOR, headers=LOCATED),
    },
    "/api/search/complete": {
        "get": Operation("complete", "What people may be going to type", schemas.Terms, (400,),
                         query=requests.CompleteQuery, may=READER),
    },
    "/api/search/suggestions": {
        "get": Operation("suggest", "Tags that the GIFs of a search have", schemas.Terms, (400,),
                         query=requests.CompleteQuery, may=READER),
    },
    "/api/search/trending": {
        "get": Operation("trendingSearches", "What people search for now", schemas.Terms, (400,),
                         query=requests.TermsQuery, may=READER),
    },
    "/api/tags": {
        "get": Operation("listTags", "The tags, the most frequent first", schemas.TagList, (400,),
                         query=requests.TagQuery, may=READER),
    },
    "/api/gifs/{gif_id}": {
        "get": Operation("getGif", "One GIF", schemas.WholeGif, (404,), may=READER),
        "patch": Operation("editGif", "Change title, tags and so on", schemas.WholeGif, (404, 429),
                           bodies=CHANGES, may=EDITOR),
        "delete": Operation("deleteGif", "Delete a GIF and its files for good", None, (404,), 204,
                            may=EDITOR),
    },
    "/api/gifs/{gif_id}/image": {
        "put": Operation("replaceImage", "Another image; the present one stays until it is stored",
                         schemas.WholeGif, (404, 429), 202,
                         bodies={MULTIPART: requests.ReplaceImage}, may=EDITOR, headers=LOCATED),
    },
    # The other methods of uploads are those of tus, whose specification has them.
    "/api/uploads": {
        "get": Operation("listUploads", "One's own unfinished resumable uploads (tus)",
                         schemas.ResumableUploadList, may=USER),
    },
    "/api/uploads/presigned": {
        "post": Operation("presignUpload", "How to write a file directly into the cache, a bucket",
                          schemas.PresignedUpload, (429,), 201,
                          bodies={JSON: requests.Presign}, may=EDITOR),
    },
    "/api/uploads/{upload_id}": {
        "get": Operation("getUpload", "How far a resumable upload is (tus), and its GIF",
                         schemas.ResumableUpload, (404,), may=EDITOR),
    },
    "/api/gifs/{gif_id}/trash": {
        "post": Operation("trashGif", "Throw a GIF away; it can be taken back for some weeks",
                          schemas.WholeGif, (404, 429), may=EDITOR),
    },
    "/api/gifs/{gif_id}/restore": {
        "post": Operation("restoreGif", "Take a GIF back from the trash", schemas.WholeGif,
                          (404, 429), may=EDITOR),
    },
    "/api/mine": {
        "get": Operation("listMine", "A page of one's own GIFs, whatever their visibility, newest "
                         "first", schemas.GifList, (400,), query=requests.Query, may=USER),
    },
    "/api/favourites": {
        "get": Operation("listFavourites", "A page of one's favourites, the last added first",
                         schemas.GifList, (400,), query=requests.Query, may=USER),
    },
    "/api/favourites/{gif_id}": {
        "put": Operation("addFavourite", "Make a GIF a favourite", None, (404, 429), 204, may=USER),
        "delete": Operation("removeFavourite", "Make a GIF no favourite any more", None, (404, 429),
                            204, may=USER),
    },
    "/api/collections": {
        "get": Operation("listCollections", "One's own collections", schemas.CollectionList,
                         may=USER),
        "post": Operation("createCollection", "Make a collection", schemas.Collection, (429,), 201,
                          bodies={JSON: requests.CreateCollection}, may=USER, headers=LOCATED),
    },
    "/api/collections/{collection_id}": {
        "get": Operation("getCollection", "One collection; its GIFs are GET "
                         "/api/gifs?collection=ID", schemas.Collection, (404,), may=READER),
        "patch": Operation("editCollection", "Change name, visibility or order",
                           schemas.Collection, (404, 429),
                           bodies={JSON: requests.EditCollection}, may=USER),
        "delete": Operation("deleteCollection", "Delete a collection; its GIFs stay", None,
                            (404, 429), 204, may=USER),
    },
    "/api/collections/{collection_id}/gifs/{gif_id}": {
        "put": Operation("collectGif", "Put a GIF at the end of a collection", None, (404, 429),
                         204, may=USER),
        "delete": Operation("uncollectGif", "Take a GIF out of a collection", None, (404, 429), 204,
                            may=USER),
    },
    "/api/trash": {
        "get": Operation("listTrash", "A page of one's own trash, the last thrown away first",
                         schemas.GifList, (400,), query=requests.Query, may=USER),
        "delete": Operation("emptyTrash", "Delete all in one's own trash for good; of more than "
                            "100 GIFs, a worker deletes the others", None, (), 204, may=USER),
    },
    "/api/users": {
        "post": Operation("signUp", "Make an account; the token is shown this once",
                          schemas.NewUser, (403, 429), 201, bodies={JSON: requests.SignUp},
                          may=ANYBODY),
    },
    "/api/account": {
        "get": Operation("getAccount", "One's own account, and how much of the quota it uses",
                         schemas.Account, may=USER),
        "patch": Operation("editAccount", "Give oneself another name (scope admin)",
                           schemas.Account, bodies={JSON: requests.EditAccount}, may=USER),
    },
    "/api/tokens": {
        "get": Operation("listTokens", "One's own sessions and tokens, newest first",
                         schemas.TokenList, may=USER),
        "post": Operation("createToken", "Make a token; its secret is shown this once "
                          "(scope admin)", schemas.NewToken, (), 201,
                          bodies={JSON: requests.CreateToken}, may=USER),
        "delete": Operation("logOutEverywhere", "End all one's own sessions, and revoke all tokens "
                            "(scope admin)", schemas.Revoked, may=USER),
    },
    "/api/tokens/{token_id}": {
        "delete": Operation("revokeToken", "Revoke a token, or end a session (scope admin, or "
                            "itself)", None, (404,), 204, may=USER),
    },
    "/api/gifs/{gif_id}/reports": {
        "post": Operation("reportGif", "Tell the moderators that a GIF should not be here", None,
                          (404, 429), 204, bodies={JSON: requests.ReportGif}, may=READER),
    },
    # For moderators.
    "/api/gifs/{gif_id}/moderation": {
        "post": Operation("moderateGif", "Hide a GIF, remove it, or undo that", schemas.WholeGif,
                          (404, 429), bodies={JSON: requests.ModerateGif}, may=USER),
    },
    "/api/reports": {
        "get": Operation("listReports", "A page of the open reports, newest first",
                         schemas.ReportList, (400,), query=requests.Query, may=USER),
    },
    "/api/reports/{report_id}": {
        "patch": Operation("closeReport", "Resolve or dismiss a report", schemas.Report,
                           (404, 429), bodies={JSON: requests.CloseReport}, may=USER),
    },
    "/api/moderation/hidden": {
        "get": Operation("listHidden", "A page of the GIFs that moderators have hidden, newest "
                         "first", schemas.GifList, (400,), query=requests.Query, may=USER),
    },
    # For admins.
    "/api/moderation/log": {
        "get": Operation("moderationLog", "A page of what moderators did, newest first",
                         schemas.ModerationLog, (400,), query=requests.LogQuery, may=USER),
    },
    "/api/jobs": {
        "get": Operation("listJobs", "A page of the jobs in a state, the next one first",
                         schemas.JobList, (400,), query=requests.JobQuery, may=USER),
    },
    "/api/jobs/{job_id}": {
        "get": Operation("getJob", "One job", schemas.Job, (404,), may=USER),
        "delete": Operation("deleteJob", "Delete a job that is not running", None, (404,), 204,
                            may=USER),
    },
    "/api/jobs/{job_id}/retry": {
        "post": Operation("retryJob", "Send a dead, failed or scheduled job to the workers now",
                          schemas.Job, (404,), may=USER),
    },
    "/api/queues": {
        "get": Operation("listQueues", "All queues", schemas.QueueList, may=USER),
    },
    "/api/queues/{queue}": {
        "patch": Operation("pauseQueue", "Pause or resume a queue", schemas.Queue, (404,),
                           bodies={JSON: requests.PauseQueue}, may=USER),
    },
    "/api/workers": {
        "get": Operation("listWorkers", "All worker processes", schemas.WorkerList, may=USER),
    },
    "/api/workers/{worker_id}": {
        "patch": Operation("quietWorker", "Have a worker take no new jobs, or take them again",
                           schemas.Worker, (404,), bodies={JSON: requests.QuietWorker},
                           may=USER),
    },
    "/api/stats": {
        "get": Operation("jobStats", "How many jobs were done, and the recurring jobs",
                         schemas.Stats, (400,), query=requests.StatsQuery, may=USER),
    },
    "/healthz": {"get": Operation("health", "Whether this process answers", schemas.Health)},
    "/readyz": {"get": Operation("readiness", "Whether it can do its work", schemas.Readiness)},
    "/metrics": {
        # Its token is one of the settings, and none of a user's.
        "get": Operation("metrics", "Counts, in Prometheus's text format", None, (401, 403)),
    },
    # It asks who reads only in a library for members.
    "/openapi.json": {"get": Operation("openapi", "This document", dict, (401, 403))},
}  # fmt: skip

DESCRIPTION = (
    "A self-hosted GIF library. An upload is answered with 202 as soon as it is safe; a worker "
    "stores it, and `state` says how far it is. Errors are problem+json (RFC 9457) with a stable "
    "`code`. A body with an unknown field gets 422 `field_unknown`; unknown parameters of a query "
    "are ignored. Where anonymous people may write, no token is needed."
)
TOKENS = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "A `token` from POST /api/users or POST /api/tokens. Its scope says what it may do: `read` "
        "looks, `write` also adds and changes GIFs, `admin` also manages tokens and, if its user "
        "is a moderator or an admin, does what they may."
    ),
}
GIF_ID = {"type": "string", "pattern": f"^{texts.GIF_ID.pattern}$", "examples": ["7TzWk3Bq9nYd"]}
COMPONENT = "#/components/schemas/{model}"


class OpenApi:
    """`GET` the document.

    Parameters:
      root: the path below which the library is (`web.root_path`).
    """

    def __init__(self, root: str = "") -> None:
        self._servers = {"servers": [{"url": root}]} if root else {}

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = document() | self._servers


@cache
def document() -> Json:
    """The OpenAPI document."""
    paths = {
        path: _in_path(path) | {method: one.document(method) for method, one in methods.items()}
        for path, methods in PATHS.items()
    }
    ready = paths["/readyz"]["get"]["responses"]
    ready["503"] = ready["200"]
    counts = paths["/metrics"]["get"]["responses"]["200"]
    counts["content"] = {"text/plain": {"schema": {"type": "string"}}}
    responses = {f"Problem{status}": _problem(status) for status in PROBLEMS}
    named: dict[str, type] = {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gifster", "version": __version__, "description": DESCRIPTION},
        "paths": _resolved(paths, named),
        "components": {
            "responses": _resolved(responses, named),
            "schemas": _schemas(named),
            "securitySchemes": {"token": TOKENS},
        },
    }


def _in_path(path: str) -> Json:
    names = re.findall(r"{(\w+)}", path)
    text = {"type": "string", "minLength": 1}
    parameters = [
        {"name": name, "in": "path", "required": True,
         "schema": GIF_ID if name in ("gif_id", "collection_id") else text}
        for name in names
    ]  # fmt: skip
    return {"parameters": parameters} if parameters else {}


def _problem(status: int) -> Json:
    problem: Json = {
        "description": PROBLEMS[status],
        "content": {"application/problem+json": {"schema": schemas.Problem}},
    }
    if status in (429, 503):
        problem["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return problem


def _resolved(part: Any, named: dict[str, type]) -> Any:
    """A part of the document with references in place of classes, which are added to `named`."""
    if part is dict:
        return {"type": "object"}
    if isinstance(part, type):
        named[part.__name__] = part
        return {"$ref": COMPONENT.format(model=part.__name__)}
    if isinstance(part, dict):
        return {key: _resolved(value, named) for key, value in part.items()}
    return part


class _Schemas(GenerateJsonSchema):
    """Answers have no other fields. Defaults that are empty, and titles that repeat a name, are
    left out."""

    def typed_dict_schema(self, schema: TypedDictSchema) -> JsonSchemaValue:
        return super().typed_dict_schema(schema) | {"additionalProperties": False}

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default") in (None, ""):
            made.pop("default", None)
        return made

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def _schemas(named: dict[str, type]) -> Json:
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[object]]] = [
        (name, "serialization" if is_typeddict(model) else "validation", TypeAdapter(model))
        for name, model in named.items()
    ]
    _, made = TypeAdapter.json_schemas(inputs, ref_template=COMPONENT, schema_generator=_Schemas)
    components: Json = made["$defs"]
    return components


def _parameters(query: type[Sent]) -> list[Json]:
    schema = query.model_json_schema(schema_generator=_Schemas)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": parameter.pop("description"),
            "schema": parameter,
        }
        for name, parameter in schema["properties"].items()
    ]
