"""Endpoints that an application mounts beside its own pages: for files and derivations, and for
uploads from scripts in a browser, such as Uppy.

    app.mount("/uploads/avatars", endpoints.upload(AvatarUploader, allow=user_of_request).asgi)
    app.mount("/derivations/photos", endpoints.derivations(PhotoUploader).asgi)

Each has a WSGI application, `.wsgi`, and an ASGI application, `.asgi` (`mounting.py`, `wsgi.py`,
`asgi.py`), and answers errors with `application/problem+json` (RFC 9457, `messages.py`).
`receiving.py` takes uploads, `tus.py` those that go on after a lost connection. `presigning.py`
lets clients write to S3 themselves, `serving.py` serves stored files, `deriving.py` derivations.
The ideas are those of Shrine's `upload_endpoint`, `presign_endpoint`, `download_endpoint` and
`derivation_endpoint`.
"""

from gifster.uploads.endpoints.deriving import derivations
from gifster.uploads.endpoints.messages import Problem
from gifster.uploads.endpoints.mounting import Endpoint
from gifster.uploads.endpoints.presigning import presign
from gifster.uploads.endpoints.receiving import upload
from gifster.uploads.endpoints.serving import files
from gifster.uploads.endpoints.tus import tus

__all__ = ["Endpoint", "Problem", "derivations", "files", "presign", "tus", "upload"]
