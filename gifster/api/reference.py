"""The HTTP API for people: the operations and shapes of `/openapi.json`, in the words of a table.

The page `/api` and the page of the docs are made from it.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]


class Part(NamedTuple):
    """A part of a text: plain, code, or the name of a shape, to which a page links."""

    kind: Literal["plain", "code", "shape"]
    text: str


Text = list[Part]

#: Who may make a request, by its `security` (see `openapi.USER` and its siblings).
_WHO = {
    "[{'token': []}]": "A user's token or session.",
    "[{'token': []}, {}]": "A user's token or session; nobody's, where the settings allow it.",
}


class Value(NamedTuple):
    """A parameter, or a field of a shape."""

    name: str
    place: str
    type: Text
    required: bool
    meaning: Text


@dataclass(frozen=True)
class Operation:
    """A method of a path.

    Parameters:
      title: such as "GET /api/gifs".
      group: the part of the path that says what it is about, such as "gifs"; "server" of those
        that are not below /api.
      bodies: the media types that it takes, each with its type.
      answers: what a success has: its status, its type and its headers.
      problems: the statuses of errors.
    """

    title: str
    group: str
    summary: Text
    who: str
    parameters: list[Value]
    bodies: list[tuple[str, Text]]
    answers: list[Text]
    problems: list[str]


@dataclass(frozen=True)
class Shape:
    """A shape of JSON.

    Parameters:
      type: of one that has no fields.
    """

    name: str
    meaning: Text
    fields: list[Value]
    type: Text


def anchor(title: str) -> str:
    """The end of the URL of a heading, as Markdown makes it."""
    return "".join(c for c in title.lower() if c.isalnum() or c in "_ -").replace(" ", "-")


def operations(document: Json) -> list[Operation]:
    """All operations of an OpenAPI document, in its order."""
    return [
        _operation(path, name, methods[name], methods.get("parameters", []))
        for path, methods in document["paths"].items()
        for name in methods
        if name != "parameters"
    ]


def shapes(document: Json) -> list[Shape]:
    """All shapes of an OpenAPI document, by name."""
    found = sorted(document["components"]["schemas"].items())
    return [_shape(name, schema) for name, schema in found]


def _operation(path: str, method: str, operation: Json, of_path: list[Json]) -> Operation:
    responses = operation["responses"]
    return Operation(
        title=f"{method.upper()} {path}",
        group=path.split("/")[2] if path.startswith("/api/") else "server",
        summary=marked(operation["summary"]),
        who=_WHO.get(str(operation.get("security")), ""),
        parameters=[
            Value(one["name"], one["in"], _type(one["schema"]), one["required"],
                  marked(one.get("description", "")))
            for one in [*of_path, *operation.get("parameters", [])]
        ],
        bodies=[
            (media, _type(body["schema"]))
            for media, body in operation.get("requestBody", {}).get("content", {}).items()
        ],
        answers=[_answer(status, one) for status, one in responses.items() if "$ref" not in one],
        problems=[status for status, one in responses.items() if "$ref" in one],
    )  # fmt: skip


def _answer(status: str, answer: Json) -> Text:
    told = [Part("plain", status)]
    for media, body in answer.get("content", {}).items():
        told += [Part("plain", "; "), *_type(body["schema"]), Part("plain", ", ")]
        told.append(Part("code", media))
    for name in answer.get("headers", {}):
        told += [Part("plain", "; header "), Part("code", name)]
    return told


def _shape(name: str, schema: Json) -> Shape:
    required = schema.get("required", [])
    fields = [
        Value(field, "", _type(value), field in required, marked(value.get("description", "")))
        for field, value in schema.get("properties", {}).items()
    ]
    return Shape(
        name, marked(schema.get("description", "")), fields, [] if fields else _type(schema)
    )


def marked(text: str) -> Text:
    """A text in which code is between backticks."""
    pieces = re.split(r"`([^`]+)`", text)
    kinds: list[Literal["plain", "code"]] = ["plain", "code"]
    return [Part(kinds[at % 2], piece) for at, piece in enumerate(pieces) if piece]


def _type(schema: Json) -> Text:
    """A type in a few words."""
    if "$ref" in schema:
        return [Part("shape", schema["$ref"].rpartition("/")[2])]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _joined(" or ", [_type(one) for one in schema[several]])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return _joined(", ", [[Part("code", str(value) or '""')] for value in values])
    if schema.get("type") == "array":
        return [Part("plain", "list of "), *_type(schema.get("items", {}))]
    if isinstance(schema.get("additionalProperties"), dict):
        values = _type(schema["additionalProperties"])
        return [Part("plain", "object, whose values are "), *values]
    return [Part("plain", _simple(schema))]


def _joined(between: str, texts: list[Text]) -> Text:
    first, *others = texts
    return [*first, *(part for text in others for part in [Part("plain", between), *text])]


def _simple(schema: Json) -> str:
    kind = schema.get("type", "any")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "format" in schema:
        text += f" ({schema['format']})"
    words = {
        "minimum": "from", "maximum": "to", "maxLength": "length to", "default": "default",
    }  # fmt: skip
    limits = [f", {word} {schema[key]}" for key, word in words.items() if _is_told(schema, key)]
    return text + "".join(limits)


def _is_told(schema: Json, key: str) -> bool:
    return schema.get(key) not in (None, "", [])
