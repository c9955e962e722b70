"""Bodies and queries as their models have them: what clients send, once it is checked.

The models themselves are in `requests`.
"""

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from falcon.asgi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from gifster.api.bodies import json_object
from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.jobs.wording import missing, unknown, wrong

#: No answer repeats the values of these fields.
SECRET = {"password", "invitation"}


class Sent(BaseModel):
    """What clients send."""


class Body(Sent):
    """A JSON object."""

    model_config = ConfigDict(strict=True, extra="forbid")
    #: The code for a field that is missing or of the wrong type, and what to send. Fields that are
    #: not here must be texts.
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {}


class Form(Sent):
    """A form of a program, in which a wrong name is as wrong as in JSON: who writes `visiblity`
    must not have made something public. The forms of pages are read with what browsers and their
    extensions add."""

    model_config = ConfigDict(extra="forbid")


B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Sent)


async def json_body(context: Context, req: Request, model: type[B], *also: str) -> B:
    """A JSON body as its model has it.

    Parameters:
      also: media types that are accepted besides `application/json`.

    Raises:
      Problem: as `bodies.json_object()`; 422 for a field that is unknown or of the wrong type.
    """
    return checked(model, await json_object(context, req, *also))


def checked(model: type[B], document: dict[str, object]) -> B:
    """A JSON object as its model has it.

    Raises:
      Problem: 422, a field is unknown, missing or of the wrong type.
    """
    known = {name: value for name, value in document.items() if name in model.model_fields}
    try:
        read = model.model_validate(known)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise _refusal(model, name, known) from None
    # Pydantic would take 20 ms to complain of all the unknown fields that 64 KiB can hold.
    if model.model_config["extra"] == "forbid" and len(known) < len(document):
        name = next(name for name in document if name not in known)
        raise Problem(422, "field_unknown", unknown(name, model.model_fields))
    return read


def _refusal(model: type[Body], name: str, sent: Mapping[str, object]) -> Problem:
    """The answer to a field that is missing or of the wrong type."""
    code, use = model.refusals.get(name, (f"{name}_invalid", "a text"))
    if name not in sent:
        return Problem(422, code, missing(name, use))
    told = f"{name} must be {use}." if name in SECRET else wrong(name, sent[name], use)
    return Problem(422, code, told)


def query(req: Request, model: type[Q]) -> Q:
    """The parameters of a query as their model has them. If one is repeated, its last value
    counts."""
    sent = {name: req.get_param(name) for name in model.model_fields}
    return model.model_validate({name: text for name, text in sent.items() if text is not None})
