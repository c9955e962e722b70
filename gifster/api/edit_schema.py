"""The schema of an edit, as clients send it. `edits.read()` checks it, since it says what is wrong
with which value."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

from gifster.app import edits


def _or_null(**schema: object) -> dict[str, object]:
    return {"anyOf": [schema, {"type": "null"}]}


_SECONDS = _or_null(type="number", minimum=0)
_SIDES = {"x": 0, "y": 0, "width": 1, "height": 1}
_CROP = _or_null(
    type="object",
    description="A box in pixels of the upright original.",
    properties={name: {"type": "integer", "minimum": least} for name, least in _SIDES.items()},
    required=list(_SIDES),
    additionalProperties=False,
)
_EDIT: dict[str, object] = {
    "type": "object",
    "description": "Which part of the original the versions show: from `start` to `end` (seconds), "
    "at most `fps` frames a second, `crop`.",
    "properties": {
        "start": _SECONDS,
        "end": _SECONDS,
        "fps": _or_null(type="number", minimum=edits.MIN_FPS, maximum=edits.MAX_FPS),
        "crop": _CROP,
    },
    "additionalProperties": False,
}
#: An edit, or null.
EditObject = Annotated[Any, WithJsonSchema(_or_null(**_EDIT))]
