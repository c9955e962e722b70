"""The addresses of this room, and the answers to its errors."""

import falcon.asgi
from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.api.direct.presigned import Presigned
from gifster.api.direct.resumable import OneUpload, Uploads
from gifster.api.problems import Params, Problem
from gifster.uploads.resumable.protocol import ProtocolError
from gifster.uploads.resumable.table import NoSuchUpload, OffsetMoved


def direct(
    app: falcon.asgi.App[Request, Response], context: Context
) -> list[tuple[str, object, str]]:
    """Each path with its resource and the suffix of its methods.

    Parameters:
      app: gets the handlers of errors.
    """
    app.add_error_handler(ProtocolError, _malformed)
    app.add_error_handler(NoSuchUpload, _gone)
    app.add_error_handler(OffsetMoved, _moved)
    return [
        ("/api/uploads", Uploads(context), ""),
        ("/api/uploads/presigned", Presigned(context), ""),
        ("/api/uploads/{upload_id}", OneUpload(context), ""),
    ]


async def _malformed(req: Request, resp: Response, error: ProtocolError, params: Params) -> None:
    raise Problem(error.status, error.code, str(error), headers=error.headers) from error


async def _gone(req: Request, resp: Response, error: NoSuchUpload, params: Params) -> None:
    raise Problem(404, "upload_not_found", str(error)) from error


async def _moved(req: Request, resp: Response, error: OffsetMoved, params: Params) -> None:
    known = None if error.received is None else {"Upload-Offset": str(error.received)}
    raise Problem(409, "upload_offset_moved", str(error), headers=known) from error
