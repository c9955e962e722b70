"""The page of all tags."""

from falcon.asgi import Request, Response

from gifster.api.pages.page import Page
from gifster.api.requests import MAX_OFFSET
from gifster.app import search

#: Of the page of tags.
PAGE_SIZE = 100


class TagsPage(Page):
    """`/tags`."""

    async def on_get(self, req: Request, resp: Response) -> None:
        number = req.get_param_as_int("page", min_value=1, max_value=MAX_OFFSET // PAGE_SIZE)
        start = ((number or 1) - 1) * PAGE_SIZE
        found = await self.context.run(search.frequent_tags, PAGE_SIZE + 1, start)
        shown = [{"name": name, "count": count} for name, count in found[:PAGE_SIZE]]
        more = len(found) > PAGE_SIZE
        await self.render(req, resp, "tags.html", tags=shown, number=number or 1, more=more)
