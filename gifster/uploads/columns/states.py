"""The states of an upload: plain texts, as the column `<column>_state` and JSON have them. Null is
no upload."""

from typing import Final, Literal

#: The states of an upload, as a `StateField` has them.
UploadState = Literal["queued", "processing", "ready", "failed"]

#: Its job waits.
QUEUED: Final = "queued"
#: A worker works on it.
PROCESSING: Final = "processing"
#: All its files are stored.
READY: Final = "ready"
#: It could not be stored or processed; `<column>_error` says why.
FAILED: Final = "failed"
