"""The errors of uploads. Each has a stable `code` for programs, and a sentence for people."""

from collections.abc import Iterator
from contextlib import contextmanager

from gifster.imaging.errors import ImagingError


class UploadError(Exception):
    """An upload that is refused, or cannot be processed, however often it is tried.

    The message is for the person who uploaded the file: what is wrong, and what to do.
    """

    code = "upload_refused"


class EmptyFile(UploadError):
    """The file is empty."""

    code = "empty_file"


class NoFileChosen(EmptyFile):
    """A form's file field was left empty. Assigning it changes nothing."""


class ValueInvalid(UploadError, TypeError):
    """A value that is no file where a form or JSON should have one, such as a number; also a
    `TypeError`, for a program that assigns such a value by mistake."""

    code = "value_invalid"


class TooManyFiles(UploadError):
    """A list would have more files than the uploader allows."""

    code = "too_many_files"


class TooLarge(UploadError):
    """The file has more bytes than the uploader allows."""

    code = "too_large"


class TooSmall(UploadError):
    """The file has fewer bytes than the uploader allows."""

    code = "too_small"


class TypeNotAllowed(UploadError):
    """The content is not of an allowed type, whatever the file's name says."""

    code = "type_not_allowed"


class ExtensionNotAllowed(UploadError):
    """The file's name has an extension that the uploader does not allow."""

    code = "extension_not_allowed"


class Unreadable(UploadError):
    """The content is damaged: it cannot be read as the type that its first bytes show."""

    code = "unreadable"


class Truncated(Unreadable):
    """The file ends in the middle."""

    code = "truncated"


class TooComplex(Unreadable):
    """The file has more parts (blocks, chunks, segments, boxes) than any image needs."""

    code = "too_complex"


class Unsupported(Unreadable):
    """The content is of a kind of its type that is not read, such as a rare compression."""

    code = "unsupported"


class TooManyPixels(UploadError):
    """A frame, or all frames together, have more pixels than the uploader allows."""

    code = "too_many_pixels"


class DimensionsNotAllowed(UploadError):
    """The image is narrower, wider, lower or higher than the uploader allows."""

    code = "dimensions_not_allowed"


class TooManyFrames(UploadError):
    """An animation has more frames than the uploader allows."""

    code = "too_many_frames"


class TooLong(UploadError):
    """An animation plays for longer than the uploader allows."""

    code = "too_long"


class MetadataUnreadable(UploadError):
    """A fact that the uploader declares cannot be read of the file."""

    code = "metadata_unreadable"


class CacheFileMissing(UploadError):
    """The cached file is gone before it could be stored."""

    code = "cache_file_missing"


class CacheFileChanged(UploadError):
    """The content of the cached file has changed since it was checked."""

    code = "cache_file_changed"


class StoredFileChanged(UploadError):
    """The content of the stored original has changed since it was stored."""

    code = "stored_file_changed"


class CacheIdInvalid(UploadError):
    """A cache id that has expired, is for somebody else, or was not made here."""

    code = "cache_id_invalid"


class CacheFileTaken(UploadError):
    """Another record has the cached file that a cache id stands for."""

    code = "cache_file_taken"


class UnreadableColumn(ValueError):
    """A mounted column or its companion has a text in some row that cannot be read: it is damaged,
    or a later release wrote it. No upload is at fault, so this is no `UploadError`."""

    #: The table and the column, with a dot between them.
    unreadable_column = ""


class DataUriInvalid(UploadError):
    """A text that is not a valid data URI."""

    code = "data_uri_invalid"


class RemoteUrlInvalid(UploadError):
    """A URL that is malformed, or not one of the web."""

    code = "remote_url_invalid"


class RemoteAddressRefused(UploadError):
    """A URL that leads into a network that is not public."""

    code = "remote_address_refused"


class RemoteFailed(UploadError):
    """The server of a URL did not send the file."""

    code = "remote_failed"


_OF_IMAGING = {
    error.code: error
    for error in (
        UploadError, Unreadable, Truncated, TooComplex, Unsupported, TooManyPixels, TooManyFrames,
    )
}  # fmt: skip


@contextmanager
def imaging_errors_translated() -> Iterator[None]:
    """Raise each error of `gifster.imaging` as the `UploadError` of the same code."""
    try:
        yield
    except ImagingError as error:
        raise _OF_IMAGING.get(error.code, UploadError)(str(error)) from error
