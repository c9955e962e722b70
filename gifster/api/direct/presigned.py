"""`/api/uploads/presigned`: how clients write a file directly into the cache, if that is a bucket.

The client makes the request that it is told, and then sends `image_cache` to `POST /api/gifs` in
the place of the file, which is checked then as any other.
"""

from dataclasses import dataclass
from datetime import timedelta

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_uploader
from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.api.receive import owner_of
from gifster.api.requests import Presign
from gifster.api.validation import json_body
from gifster.app import kept_uploads
from gifster.app.models import ImageUploader, now, rfc3339
from gifster.uploads import presign
from gifster.uploads.config import storage
from gifster.uploads.files.cache_ids import DirectUpload
from gifster.uploads.storage.base import Presigning

#: How long the client may make its request (seconds).
EXPIRES_S = 900


@dataclass
class Presigned:
    """`POST` tells how to write one file.

    Parameters:
      context: of the process.
    """

    context: Context

    async def on_post(self, req: Request, resp: Response) -> None:
        user = await require_uploader(self.context, req)
        wish = await json_body(self.context, req, Presign)
        if not isinstance(storage(ImageUploader.cache), Presigning):
            raise Problem(
                409,
                "presigning_not_possible",
                "The cache of this library is no bucket. Upload to /api/uploads (tus), or to "
                "/api/gifs.",
            )
        owner = owner_of(self.context, req, user)

        def work() -> DirectUpload:
            made = presign(
                ImageUploader,
                wish.filename,
                wish.bytes,
                wish.content_type or "",
                expires_s=EXPIRES_S,
                owner=owner,
                form=wish.method == "POST",
            )
            kept_uploads.reserve(
                made.key, ImageUploader.cache, wish.bytes, user, self.context.quota
            )
            return made

        ends_at = now() + timedelta(seconds=EXPIRES_S)
        made = await self.context.run(work)
        resp.status = falcon.HTTP_201
        told: schemas.PresignedUpload = {
            "method": made.request.method,
            "url": made.request.url,
            "headers": made.request.headers,
            "fields": made.request.fields,
            "image_cache": made.cache_id,
            "expires_at": rfc3339(ends_at),
        }
        resp.media = told
