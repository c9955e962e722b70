"""Lets clients write uploads to S3 themselves (Shrine's `presign_endpoint`)."""

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from gifster.uploads.endpoints.messages import Problem, Request, Response, as_json, number
from gifster.uploads.endpoints.receiving import Guarded
from gifster.uploads.files import cache_ids
from gifster.uploads.files.validation import Limits


def presign(
    uploader: type[Limits], *, allow: Callable[[Any], object], origins: Collection[str] = ()
) -> "PresignEndpoint":
    """An endpoint that tells clients how to write a file into the cache of an uploader, on S3.

    `GET …?filename=cat.gif&type=image/gif&size=52428` returns `method`, `url`, `headers` and
    `fields`, which is what Uppy's `getUploadParameters` returns, and a `cache_id` to send to the
    application afterwards. Its content is checked when it is assigned. With `&method=POST` it is a
    form, whose file may also be smaller; else `fields` is empty.

    Parameters:
      uploader, allow, origins: as for `upload()`.

    Raises:
      TypeError: `allow` is no function.
      ValueError: one of the origins is none.
    """
    return PresignEndpoint(uploader, allow, origins)


class PresignEndpoint(Guarded):
    """What `presign()` returns."""

    methods = "GET"

    def admitted(self, request: Request, owner: str) -> Response:
        values = request.parameters()
        size = number(values.get("size", ""))
        if size is None:
            given = values.get("size", "")[:20]
            detail = f"size is {given!r}: give the size of the file in bytes."
            raise Problem(400, "size_invalid", detail)
        content_type = values.get("type") or "application/octet-stream"
        if not (content_type.isascii() and content_type.isprintable() and len(content_type) < 200):
            raise Problem(400, "type_invalid", "type cannot be a content type.")
        method = values.get("method") or "PUT"
        if method not in ("PUT", "POST"):
            raise Problem(400, "method_invalid", f"method is {method[:20]!r}: use PUT or POST.")
        direct = cache_ids.presign(
            self.uploader,
            values.get("filename", ""),
            size,
            content_type,
            owner=owner,
            form=method == "POST",
        )
        return as_json(200, asdict(direct.request) | {"cache_id": direct.cache_id})
