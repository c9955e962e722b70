"""`/openapi.json`: the HTTP API in OpenAPI 3.1, with the limits that the code has.

The tests make requests from it, and hold the answers against it.
"""

from importlib.metadata import version
from typing import Any

from gifster.api.gifs import MAX_URL
from gifster.app import addresses, jobs_admin, library, texts, tokens
from gifster.app.models import ImageUploader
from gifster.jobs import State

Json = dict[str, Any]

PROBLEMS = {
    400: "The request cannot be read, or asks for what makes no sense.",
    401: "Nobody is signed in, or the token is wrong, expired or revoked.",
    403: "It belongs to somebody else or to nobody, the token's scope is too narrow, the quota is "
    "used up, or another site's page sent it.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "Somebody was there first.",
    413: "It is larger than is taken here.",
    415: "Its type is not taken here.",
    422: "What was sent does not do; the code says why.",
    429: "Too often; come again later.",
    503: "Something that is needed is away or busy; come again.",
    507: "There is no room left.",
}


class OpenApi:
    """`GET` the document."""

    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = document()


def document() -> Json:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gifster",
            "version": version("gifster"),
            "description": (
                "A self-hosted GIF library. An upload is answered with 202 as soon as it is safe; "
                "a worker stores it, and `state` says how far it is. Errors are problem+json "
                "(RFC 9457) with a stable `code`. Where anonymous people may write, no token is "
                "needed."
            ),
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {f"Problem{status}": _problem(status) for status in PROBLEMS},
            "parameters": {
                "gif_id": {
                    "name": "gif_id",
                    "in": "path",
                    "required": True,
                    "schema": {
                        "type": "string",
                        "pattern": f"^{texts.GIF_ID.pattern}$",
                        "examples": ["7TzWk3Bq9nYd"],
                    },
                }
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": (
                        "A `token` that POST /api/users or POST /api/tokens gave out. Its scope "
                        "says what it may do: `read` looks, `write` also adds and changes GIFs, "
                        "`admin` also manages tokens and, if its user is an admin, jobs and the "
                        "GIFs of others."
                    ),
                }
            },
        },
    }


def _paths() -> Json:
    upload = {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": _file(),
                    "title": _title(),
                    "tags": {"type": "string", "description": "Tags, parted by commas."},
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["remote_image_url"],
                "properties": {
                    "remote_image_url": {
                        "type": "string",
                        "maxLength": MAX_URL,
                        "description": "An http or https URL of a public host.",
                    },
                    "title": _or_null(_title()),
                    "tags": _or_null(_tags()),
                },
                "additionalProperties": False,
            }
        },
    }
    of_one = {"parameters": [{"$ref": "#/components/parameters/gif_id"}]}
    return {
        "/api/gifs": {
            "get": _operation(
                "listGifs", "A page of GIFs, newest first", {200: _ref("GifList")}, 400,
                parameters=[
                    _query("q", _text(texts.MAX_QUERY), "A part of the title or of a tag."),
                    _query("tag", _text(texts.MAX_TAG), "A whole tag."),
                    _query("cursor", {"type": "string"}, "`next` of the page before."),
                    _query("limit", {"type": "integer", "minimum": 1,
                                     "maximum": library.MAX_LIMIT, "default": 30}, "How many."),
                ],
            ),
            "post": _operation(
                "addGif", "Upload a GIF, or have it fetched", {202: _ref("WholeGif")},
                400, 401, 403, 408, 413, 415, 422, 429, 503, 507, body=upload, located=True,
            ),
        },
        "/api/gifs/{gif_id}": of_one | {
            "get": _operation("getGif", "One GIF", {200: _ref("WholeGif")}, 404),
            "patch": _operation(
                "editGif", "Change title or tags", {200: _ref("WholeGif")},
                400, 401, 403, 404, 408, 413, 415, 422, 429, body=_changes(),
            ),
            "delete": _operation(
                "deleteGif", "Delete a GIF and its files", {204: None}, 401, 403, 404,
            ),
        },
        "/api/gifs/{gif_id}/image": of_one | {
            "put": _operation(
                "replaceImage", "Another image; the present one stays until it is stored",
                {202: _ref("WholeGif")}, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 507,
                body={"multipart/form-data": {"schema": {
                    "type": "object", "required": ["image"], "properties": {"image": _file()},
                }}}, located=True,
            ),
        },
        "/api/users": {
            "post": _operation(
                "signUp", "Make an account; the token is shown this once",
                {201: _ref("NewUser")}, 400, 403, 408, 409, 413, 415, 422, 429,
                body={"application/json": {"schema": {
                    "type": "object",
                    "required": ["email", "password"],
                    "properties": {
                        "email": {"type": "string", "maxLength": addresses.MAX_ADDRESS},
                        "password": {"type": "string", "minLength": texts.MIN_PASSWORD,
                                     "maxLength": texts.MAX_PASSWORD},
                        "name": {"type": "string", "maxLength": texts.MAX_NAME},
                    },
                }}}, security=[],
            ),
        },
        **_paths_of_tokens(),
        **_paths_of_jobs(),
        "/healthz": {"get": _operation("health", "Whether this process answers",
                                       {200: _ref("Health")})},
        "/readyz": {"get": _operation("readiness", "Whether it can do its work",
                                      {200: _ref("Readiness"), 503: _ref("Readiness")})},
        "/metrics": {"get": _operation("metrics", "Counts, in Prometheus's text format",
                                       {200: None})},
        "/openapi.json": {"get": _operation("openapi", "This document", {200: {"type": "object"}})},
    }  # fmt: skip


def _paths_of_tokens() -> Json:
    """For people who are signed in, or have a token."""
    name = {"type": "string", "minLength": 1, "maxLength": texts.MAX_NAME}
    days = {
        "type": ["integer", "null"], "minimum": 1, "maximum": tokens.MAX_DAYS,
        "description": "null: it holds until it is revoked. Left out: auth.token_days.",
    }  # fmt: skip
    return {
        "/api/tokens": {
            "get": _signed_in("listTokens", "One's own sessions and tokens, the newest first",
                           {200: _list_of("Token")}, 401, 403),
            "post": _signed_in(
                "createToken", "Make a token; its secret is shown this once (scope admin)",
                {201: _ref("NewToken")}, 400, 401, 403, 408, 413, 415, 422,
                body={"application/json": {"schema": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": name,
                        "scope": {"enum": list(tokens.Scope), "default": tokens.Scope.WRITE},
                        "expires_in_days": days,
                    },
                    "additionalProperties": False,
                }}},
            ),
            "delete": _signed_in(
                "logOutEverywhere",
                "End all one's own sessions, and revoke all tokens (scope admin)",
                {200: _object(revoked={"type": "integer", "minimum": 0})}, 401, 403,
            ),
        },
        "/api/tokens/{token_id}": _with("token_id") | {
            "delete": _signed_in(
                "revokeToken", "Revoke a token, or end a session (scope admin, or itself)",
                {204: None}, 401, 403, 404,
            ),
        },
    }  # fmt: skip


def _paths_of_jobs() -> Json:
    """For admins."""
    refused = (401, 403)
    changed = (400, 401, 403, 404, 408, 413, 415, 422)
    return {
        "/api/jobs": {"get": _admins(
            "listJobs", "A page of the jobs in a state, the next one first",
            {200: _list_of("Job")}, 400, *refused, parameters=[
                _query("state", {"enum": list(State)}, "Which ones.", required=True),
                _query("cursor", {"type": "string"}, "`next` of the page before."),
                _query("limit", {"type": "integer", "minimum": 1,
                                 "maximum": library.MAX_LIMIT, "default": 30}, "How many."),
            ],
        )},
        "/api/jobs/{job_id}": _with("job_id") | {
            "get": _admins("getJob", "One job", {200: _ref("Job")}, 404, *refused),
            "delete": _admins("deleteJob", "Forget a dead job", {204: None}, 404, 409, *refused),
        },
        "/api/jobs/{job_id}/retry": _with("job_id") | {
            "post": _admins("retryJob", "Have a dead job done after all, or a later one now",
                               {200: _ref("Job")}, 404, 409, *refused),
        },
        "/api/queues": {"get": _admins("listQueues", "All queues", {200: _list_of("Queue")},
                                          *refused)},
        "/api/queues/{queue}": _with("queue") | {
            "patch": _admins("pauseQueue", "Pause a queue, or have its jobs done again",
                                {200: _ref("Queue")}, *changed, body=_flag("paused")),
        },
        "/api/workers": {"get": _admins("listWorkers", "All worker processes",
                                           {200: _list_of("Worker")}, *refused)},
        "/api/workers/{worker_id}": _with("worker_id") | {
            "patch": _admins("quietWorker", "Have a worker take no new jobs, or take them again",
                                {200: _ref("Worker")}, *changed, body=_flag("quiet")),
        },
        "/api/stats": {"get": _admins(
            "jobStats", "What was done, and what recurs", {200: _ref("Stats")}, 400, *refused,
            parameters=[_query("span", {"enum": list(jobs_admin.HISTORIES), "default": "hour"},
                               "How far back the history goes.")],
        )},
    }  # fmt: skip


def _signed_in(*arguments: Any, **more: Any) -> Json:
    return _operation(*arguments, security=[{"token": []}], **more)


def _admins(*arguments: Any, **more: Any) -> Json:
    return _signed_in(*arguments, **more)


def _with(parameter: str) -> Json:
    """The parameter of a path."""
    schema = {"type": "string", "minLength": 1}
    return {"parameters": [{"name": parameter, "in": "path", "required": True, "schema": schema}]}


def _flag(name: str) -> Json:
    """A body of one field: true or false."""
    schema = _object(**{name: {"type": "boolean"}})
    return {"application/json": {"schema": schema}}


def _list_of(name: str) -> Json:
    return _object(items={"type": "array", "items": _ref(name)}, next={"type": ["string", "null"]})


def _changes() -> dict[str, Any]:
    """A null leaves the field as it is; in a merge patch it removes the tags."""

    def of(title: dict[str, Any]) -> dict[str, Any]:
        return {
            "schema": {
                "type": "object",
                "properties": {"title": title, "tags": _or_null(_tags())},
                "additionalProperties": False,
            }
        }

    title = _title() | {"minLength": 1}
    return {"application/json": of(_or_null(title)), "application/merge-patch+json": of(title)}


def _operation(
    name: str,
    summary: str,
    answers: dict[int, Json | None],
    *problems: int,
    body: Json | None = None,
    located: bool = False,
    **more: Any,
) -> Json:
    if problems:  # it has to do with the database
        writes = body is not None or bool({201, 202, 204} & set(answers))
        problems = tuple(sorted({*problems, 503, *((409, 507) if writes else ())}))
    responses: Json = {str(status): {"$ref": f"#/components/responses/Problem{status}"}
                       for status in problems}  # fmt: skip
    for status, schema in answers.items():
        responses[str(status)] = {"description": summary}
        if schema is not None:
            responses[str(status)]["content"] = {"application/json": {"schema": schema}}
        if located:
            responses[str(status)]["headers"] = {
                "Location": {"required": True, "schema": {"type": "string"}}
            }
    operation: Json = {"operationId": name, "summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    if 401 in problems:
        operation["security"] = [{"token": []}, {}]
    return operation | more


def _problem(status: int) -> Json:
    problem: Json = {
        "description": PROBLEMS[status],
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }
    if status in (429, 503):
        problem["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return problem


def _schemas() -> Json:
    text, count, url = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "string"}
    version_of = {
        "url": url,
        "content_type": text,
        "bytes": count,
        "width": {**count, "description": "Pixels."},
        "height": {**count, "description": "Pixels."},
    }
    gif = {
        "id": text,
        "title": text,
        "tags": {"type": "array", "items": text},
        "state": {"enum": ["queued", "processing", "ready", "failed"]},
        "created_at": {"type": "string", "format": "date-time"},
        "image": _or_null(_ref("Image")),
        "versions": {"type": "object", "additionalProperties": _object(**version_of)},
        "placeholder": _or_null(
            _object(
                color={"type": ["string", "null"], "description": "What most of it has: #rrggbb."},
                thumbhash={
                    "type": ["string", "null"],
                    "description": "ThumbHash of the first frame, in base64.",
                },
            )
        ),
        "error": _or_null(_object(code=text, message=text)),
        "duplicate_of": {
            "type": ["string", "null"],
            "description": "The id of an older GIF that is the same file.",
        },
    }
    similar = {"type": "array", "items": text, "description": "The ids of GIFs that look like it."}
    return {
        "Gif": _object(**gif),
        "WholeGif": _object(**gif, similar=similar),
        "Image": _object(
            **version_of,
            frames=count,
            duration_ms=count,
            loop={"type": ["integer", "null"],
                  "description": "How often it is played; 0 is for ever, null is once."},
            sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"},
        ),
        "GifList": _list_of("Gif"),
        **_schemas_of_jobs(),
        "NewUser": _object(id=text, name=text, email=text, token=text),
        "Token": _object(**_token()),
        "NewToken": _object(**_token(), token={**text, "description": "The secret."}),
        "Health": _object(status={"const": "ok"}),
        "Readiness": _object(
            status={"enum": ["ok", "unavailable"]},
            checks={"type": "object", "additionalProperties": text},
        ),
        "Problem": _object(
            type={"const": "about:blank"},
            title=text,
            status={"type": "integer"},
            detail=text,
            code={"type": "string", "pattern": "^[a-z_]+$"},
        ),
    }  # fmt: skip


def _token() -> Json:
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    return {
        "id": text,
        "kind": {"enum": list(tokens.Kind), "description": "A browser's, or a program's."},
        "name": {**text, "description": "Empty for a session."},
        "scope": {"enum": list(tokens.Scope)},
        "created_at": moment,
        "last_used_at": {**_or_null(moment), "description": "To the hour."},
        "expires_at": _or_null(moment),
        "current": {"type": "boolean", "description": "Whether it is what asks."},
    }


def _schemas_of_jobs() -> Json:
    text, count, flag = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
    moment = {"type": "string", "format": "date-time"}
    maybe, or_never = {"type": ["string", "null"]}, _or_null(moment)
    return {
        "Job": _object(
            id=text, state={"enum": list(State)}, actor=text, queue=text,
            arguments={"type": "array"}, created_at=moment, due_at=or_never, started_at=or_never,
            worker=maybe, thread=maybe, attempts=count, deaths=count, failed_at=or_never,
            error=maybe, traceback=maybe,
        ),
        "Queue": _object(
            name=text, weight=count, max={"type": ["integer", "null"]}, paused=flag,
            **{state.value: count for state in State},
            oldest_s={"type": "number", "description": "How long the oldest has waited (seconds)."},
        ),
        "Worker": _object(
            id=text, host=text, pid=count, queues={"type": "array", "items": text}, threads=count,
            busy=count, memory_bytes=count, started_at=moment, seen_at=moment, alive=flag,
            quiet=flag,
        ),
        "Stats": _object(
            done=count, failed=count,
            history={"type": "array", "items": _object(begin=moment, done=count, failed=count)},
            recurring={"type": "array", "items": _object(
                name=text, rule=text, next_at=moment, last_at=or_never)},
        ),
    }  # fmt: skip


def _object(**properties: Any) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


def _query(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "schema": schema,
        "description": description,
        "required": required,
    }


def _text(most: int) -> Json:
    return {"type": "string", "maxLength": most, "description": "Without control characters."}


def _title() -> Json:
    return _text(texts.MAX_TITLE)


def _tags() -> Json:
    return {
        "type": "array",
        "items": _text(texts.MAX_TAG),
        "maxItems": texts.MAX_TAGS,
    }


def _file() -> Json:
    types = ", ".join(sorted(ImageUploader.allow_types or []))
    return {
        "type": "string",
        "format": "binary",
        "description": f"At most {ImageUploader.max_bytes:,} bytes of {types}.",
    }
