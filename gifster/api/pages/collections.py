"""The pages of collections: `/collections`, one's own, and `/collections/{id}`. The page of a GIF
has forms that put it into them."""

from urllib.parse import urlencode

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import require_token, viewer_of
from gifster.api.bodies import url_form
from gifster.api.collections import collections_json, collector
from gifster.api.gifs import cards_json
from gifster.api.pages.page import PAGE_SIZE, Page
from gifster.app import collections, library
from gifster.app.texts import Visibility
from gifster.app.tokens import Scope


class CollectionsPage(Page):
    """`GET` one's own collections, `POST` a new one."""

    async def on_get(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.READ)).user
        viewer = await viewer_of(self.context, req)
        own = await self.context.run(
            lambda: collections_json(collections.collections_of(user), viewer)
        )
        await self.render(req, resp, "collections.html", collections=own)

    async def on_post(self, req: Request, resp: Response) -> None:
        user = await collector(self.context, req)
        sent = await url_form(self.context, req)
        made = await self.context.run(
            collections.create,
            user,
            sent.get("name", ""),
            sent.get("visibility", Visibility.PUBLIC),
        )
        raise falcon.HTTPSeeOther(f"/collections/{made.id}")


class CollectionPage(Page):
    """`GET` a collection with its GIFs; `POST` to `/edit`, `/delete`, `/add` and `/remove`."""

    async def on_get(self, req: Request, resp: Response, collection_id: str) -> None:
        viewer = await viewer_of(self.context, req)

        def work() -> dict[str, object]:
            collection = collections.get(collection_id, viewer)
            cursor = req.get_param("cursor") or ""
            gifs, following = collections.gifs_in(
                collection, viewer, cursor=cursor, limit=PAGE_SIZE
            )
            return {
                "collection": collections_json([collection], viewer)[0],
                "gifs": cards_json(gifs, viewer),
                "may_change": collections.may_change(collection, viewer),
                "next_query": following and urlencode({"cursor": following}),
            }

        await self.render(req, resp, "collection.html", **await self.context.run(work))

    async def on_post_edit(self, req: Request, resp: Response, collection_id: str) -> None:
        await collector(self.context, req)
        sent = await url_form(self.context, req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(
            collections.edit,
            collection_id,
            viewer,
            name=sent.get("name", ""),
            visibility=sent.get("visibility"),
        )
        raise falcon.HTTPSeeOther(f"/collections/{collection_id}")

    async def on_post_delete(self, req: Request, resp: Response, collection_id: str) -> None:
        await collector(self.context, req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(collections.delete, collection_id, viewer)
        raise falcon.HTTPSeeOther("/collections")


class CollectGif(Page):
    """`POST` from the page of a GIF: into a collection or out of it."""

    async def on_post_collect(self, req: Request, resp: Response, gif_id: str) -> None:
        user = await collector(self.context, req)
        sent = await url_form(self.context, req)
        viewer = await viewer_of(self.context, req)

        def work() -> None:
            chosen = sent.get("collection")
            if sent.get("name"):
                # What is made of a GIF that few see is not for everybody.
                seen_by = library.get_gif(gif_id, viewer).visibility
                chosen = collections.create(user, sent["name"], seen_by).id
            collections.add(chosen or "", gif_id, viewer)

        await self.context.run(work)
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")

    async def on_post_uncollect(self, req: Request, resp: Response, gif_id: str) -> None:
        await collector(self.context, req)
        chosen = (await url_form(self.context, req)).get("collection", "")
        viewer = await viewer_of(self.context, req)
        await self.context.run(collections.remove, chosen, gif_id, viewer)
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")
