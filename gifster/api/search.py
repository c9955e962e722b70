"""What helps to search: completions, suggestions, trending searches, and the tags.

Everybody gets the same. Who asks matters only if their token is wrong, which is a 401 everywhere.
"""

from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import viewer_of
from gifster.api.context import Context
from gifster.api.gifs import locale_of
from gifster.api.requests import CompleteQuery, TagQuery, TermsQuery
from gifster.api.validation import query
from gifster.app import cursors, search, texts


class Terms:
    """`GET /api/search/complete`, `/api/search/suggestions` and `/api/search/trending`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get_complete(self, req: Request, resp: Response) -> None:
        asked, locale = query(req, CompleteQuery), locale_of(req)
        await viewer_of(self.context, req)

        def work() -> list[str]:
            cursors.check_limit(asked.limit)
            return search.complete(texts.query(asked.q), limit=asked.limit, locale=locale)

        resp.media = {"items": await self.context.run(work)}

    async def on_get_suggestions(self, req: Request, resp: Response) -> None:
        asked, locale = query(req, CompleteQuery), locale_of(req)
        await viewer_of(self.context, req)

        def work() -> list[str]:
            cursors.check_limit(asked.limit)
            return search.suggestions(texts.query(asked.q), limit=asked.limit, locale=locale)

        resp.media = {"items": await self.context.run(work)}

    async def on_get_trending(self, req: Request, resp: Response) -> None:
        asked = query(req, TermsQuery)
        await viewer_of(self.context, req)

        def work() -> list[str]:
            cursors.check_limit(asked.limit)
            return search.trending_terms(limit=asked.limit)

        resp.media = {"items": await self.context.run(work)}


class Tags:
    """`GET /api/tags`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        asked = query(req, TagQuery)
        await viewer_of(self.context, req)

        def work() -> schemas.TagList:
            cursors.check_limit(asked.limit)
            found = search.frequent_tags(asked.limit, asked.offset)
            return {"items": [{"name": name, "count": count} for name, count in found]}

        resp.media = await self.context.run(work)
