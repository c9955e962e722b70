"""`/api`: the HTTP API for people. `/openapi.json` has the same for programs."""

from functools import cache

from falcon.asgi import Request, Response

from gifster.api import openapi, reference
from gifster.api.pages.page import Page
from gifster.api.reference import Operation, Shape, anchor


class ApiPage(Page):
    """The page."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await self.render(
            req,
            resp,
            "api.html",
            about=reference.marked(openapi.document()["info"]["description"]),
            home=self.context.home(req),
            groups=groups(),
            shapes=shapes(),
            problems=sorted(openapi.PROBLEMS.items()),
            anchor=anchor,
        )


@cache
def groups() -> dict[str, list[Operation]]:
    """The operations, by what they are about."""
    found: dict[str, list[Operation]] = {}
    for operation in reference.operations(openapi.document()):
        found.setdefault(operation.group, []).append(operation)
    return found


@cache
def shapes() -> list[Shape]:
    """The shapes of JSON."""
    return reference.shapes(openapi.document())
