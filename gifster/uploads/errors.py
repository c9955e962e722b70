"""What can be wrong with an upload. Each error has a stable `code` that programs may rely on."""

from collections.abc import Iterator
from contextlib import contextmanager

from gifster.imaging.errors import ImagingError


class UploadError(Exception):
    """An upload that cannot be accepted, or not be processed, however often it is tried.

    The message is one sentence for the person who uploaded.
    """

    code = "upload_refused"


class EmptyFile(UploadError):
    """There is nothing in the file."""

    code = "empty_file"


class TooLarge(UploadError):
    """More bytes than the uploader takes."""

    code = "too_large"


class TooSmall(UploadError):
    """Fewer bytes than the uploader takes."""

    code = "too_small"


class TypeNotAllowed(UploadError):
    """The content, whatever its name says, is of no allowed type."""

    code = "type_not_allowed"


class ExtensionNotAllowed(UploadError):
    """The file's name ends in a way that the uploader does not take."""

    code = "extension_not_allowed"


class Unreadable(UploadError):
    """The content is damaged: it cannot be read as what its first bytes say it is."""

    code = "unreadable"


class Truncated(Unreadable):
    """The file ends in the middle."""

    code = "truncated"


class TooComplex(Unreadable):
    """The file has more parts (blocks, chunks, segments, boxes) than any picture needs."""

    code = "too_complex"


class TooManyPixels(UploadError):
    """A frame, or all frames together, have more pixels than the uploader takes."""

    code = "too_many_pixels"


class DimensionsNotAllowed(UploadError):
    """The image is narrower, wider, lower or higher than the uploader takes."""

    code = "dimensions_not_allowed"


class TooManyFrames(UploadError):
    """An animation has more frames than the uploader takes."""

    code = "too_many_frames"


class TooLong(UploadError):
    """An animation plays for longer than the uploader takes."""

    code = "too_long"


class CacheFileMissing(UploadError):
    """The cached file was gone when it was to be stored."""

    code = "cache_file_missing"


class CacheFileChanged(UploadError):
    """The cached file is not the one that was checked when it came."""

    code = "cache_file_changed"


class CacheIdInvalid(UploadError):
    """A cache id that was not given out here, or too long ago."""

    code = "cache_id_invalid"


class CacheFileTaken(UploadError):
    """The cached file that a cache id stands for belongs to another record by now."""

    code = "cache_file_taken"


class DataUriInvalid(UploadError):
    """A text that was to be a data URI, and is none."""

    code = "data_uri_invalid"


class RemoteUrlInvalid(UploadError):
    """A URL that nothing can be fetched from."""

    code = "remote_url_invalid"


class RemoteAddressRefused(UploadError):
    """A URL that leads into a network which is none of the public's business."""

    code = "remote_address_refused"


class RemoteFailed(UploadError):
    """The server that a URL leads to did not give the file."""

    code = "remote_failed"


_OF_IMAGING = {
    error.code: error
    for error in (UploadError, Unreadable, Truncated, TooComplex, TooManyPixels, TooManyFrames)
}


@contextmanager
def imaging_errors_translated() -> Iterator[None]:
    """Raise what `gifster.imaging` finds wrong with a picture as the `UploadError` of the same
    code."""
    try:
        yield
    except ImagingError as error:
        raise _OF_IMAGING.get(error.code, UploadError)(str(error)) from error
