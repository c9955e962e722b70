"""Collections by HTTP: `/api/collections`, `/api/collections/{id}`, and their GIFs. A list of those
is `GET /api/gifs?collection=ID`."""

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_token, viewer_of
from gifster.api.context import Context
from gifster.api.requests import CreateCollection, EditCollection
from gifster.api.validation import json_body
from gifster.app import collections
from gifster.app.access import Viewer
from gifster.app.collections import Collection
from gifster.app.models import User, rfc3339
from gifster.app.tokens import Scope


def collections_json(found: list[Collection], viewer: Viewer) -> list[schemas.Collection]:
    """Collections as JSON.

    Parameters:
      viewer: who reads it, and counts the GIFs that they see.
    """
    sizes = collections.sizes(found, viewer)
    return [
        {
            "id": one.id,
            "name": one.name,
            "visibility": one.visibility,
            "user": {"id": one.user_id, "name": one.user.name},
            "created_at": rfc3339(one.created_at),
            "size": sizes[one.id],
        }
        for one in found
    ]


async def collector(context: Context, req: Request) -> User:
    """The user, who may change collections now.

    Raises:
      Problem: 401, 403, as `require_token()`.
      RateLimited
    """
    user = (await require_token(context, req, Scope.WRITE)).user
    await context.run_unconnected(context.limits.edit, req, user)
    return user


class Collections:
    """`GET` one's own collections, `POST` a new one."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.READ)).user
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.CollectionList:
            own = collections.collections_of(user)
            return {"items": collections_json(own, viewer), "next": None}

        resp.media = await self.context.run(work)

    async def on_post(self, req: Request, resp: Response) -> None:
        user = await collector(self.context, req)
        wish = await json_body(self.context, req, CreateCollection)
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.Collection:
            made = collections.create(user, wish.name, wish.visibility)
            return collections_json([made], viewer)[0]

        resp.media = made = await self.context.run(work)
        resp.status = falcon.HTTP_201
        resp.location = f"/api/collections/{made['id']}"


class OneCollection:
    """`GET`, `PATCH` (name, visibility, order), `DELETE`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response, collection_id: str) -> None:
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.Collection:
            return collections_json([collections.get(collection_id, viewer)], viewer)[0]

        resp.media = await self.context.run(work)

    async def on_patch(self, req: Request, resp: Response, collection_id: str) -> None:
        await collector(self.context, req)
        changes = await json_body(self.context, req, EditCollection)
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.Collection:
            edited = collections.edit(
                collection_id,
                viewer,
                name=changes.name,
                visibility=changes.visibility,
                first=changes.first,
            )
            return collections_json([edited], viewer)[0]

        resp.media = await self.context.run(work)

    async def on_delete(self, req: Request, resp: Response, collection_id: str) -> None:
        await collector(self.context, req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(collections.delete, collection_id, viewer)
        resp.status = falcon.HTTP_204


class CollectedGif:
    """`PUT` a GIF into a collection, or `DELETE` it there."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_put(self, req: Request, resp: Response, collection_id: str, gif_id: str) -> None:
        await collector(self.context, req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(collections.add, collection_id, gif_id, viewer)
        resp.status = falcon.HTTP_204

    async def on_delete(
        self, req: Request, resp: Response, collection_id: str, gif_id: str
    ) -> None:
        await collector(self.context, req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(collections.remove, collection_id, gif_id, viewer)
        resp.status = falcon.HTTP_204
