"""Every text of a request is text before anybody works with it: no NUL, which PostgreSQL refuses,
and no lone surrogates, which no UTF-8 holds. JSON, forms, queries, paths and cookies all come
through here; what a text may say beyond that is for `gifster/app/texts.py`.
"""

import json
from typing import Any

from gifster.api.problems import Problem
from gifster.uploads.text import has_controls, is_text


def require_text(*texts: str) -> None:
    """Let only texts through.

    Raises:
      Problem: 400, one of them has a NUL or a lone surrogate.
    """
    if not all(map(is_text, texts)):
        raise Problem(
            400, "text_malformed", "A text has a NUL character or half of a surrogate pair."
        )


def parsed_json(body: bytes) -> Any:
    """A JSON document in UTF-8 (RFC 8259, 8.1), with or without a byte order mark; of a name that
    is there twice the last value.

    Raises:
      Problem: 400, it is no JSON, or has a text that is none.
    """
    try:
        document = json.loads(body.decode("utf-8-sig"), parse_constant=_refused)
    except (ValueError, RecursionError):
        raise Problem(400, "json_malformed", "The body is not JSON in UTF-8.") from None
    waiting = [document]
    while waiting:
        match waiting.pop():
            case str(text):
                require_text(text)
            case list(items):
                waiting += items
            case dict(members):
                require_text(*members)
                waiting += members.values()
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class WellFormed:
    """Refuses queries whose texts are none, and finds nothing under paths that cannot be."""

    async def process_request(self, req: Any, resp: Any) -> None:
        for name, values in req.params.items():
            require_text(name, *(values if isinstance(values, list) else [values]))

    async def process_resource(
        self, req: Any, resp: Any, resource: Any, params: dict[str, Any]
    ) -> None:
        if not all(is_text(value) and not has_controls(value) for value in params.values()):
            raise Problem(404, "not_found", "There is nothing at this address.")
