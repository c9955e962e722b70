"""What can be wrong with a picture. Each error has a stable `code` that programs may rely on."""


class ImagingError(Exception):
    """A picture that cannot be read or made, however often it is tried.

    The message is one sentence for the person whose picture it is.
    """

    code = "image_refused"


class Unreadable(ImagingError):
    """The content is damaged: it cannot be read as what its first bytes say it is."""

    code = "unreadable"


class Truncated(Unreadable):
    """The file ends in the middle."""

    code = "truncated"


class TooComplex(Unreadable):
    """The file has more parts (blocks, chunks, segments, boxes) than any picture needs."""

    code = "too_complex"


class TooManyPixels(ImagingError):
    """A frame has more pixels than the decoder takes."""

    code = "too_many_pixels"


class TooManyFrames(ImagingError):
    """An animation has more frames than the caller takes."""

    code = "too_many_frames"
