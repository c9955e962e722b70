"""What can be wrong with an upload. Each error has a stable `code` that programs may rely on."""


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


class TypeNotAllowed(UploadError):
    """The content, whatever its name says, is of no allowed type."""

    code = "type_not_allowed"


class Unreadable(UploadError):
    """The content is damaged: it cannot be read as what its first bytes say it is."""

    code = "unreadable"


class Truncated(Unreadable):
    """The file ends in the middle."""

    code = "truncated"


class TooManyPixels(UploadError):
    """A frame has more pixels than the uploader takes."""

    code = "too_many_pixels"


class TooManyFrames(UploadError):
    """An animation has more frames than the uploader takes."""

    code = "too_many_frames"


class CacheFileMissing(UploadError):
    """The cached file was gone when a worker came to store it."""

    code = "cache_file_missing"
