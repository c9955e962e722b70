"""What can be wrong with an image. Programs may rely on each error's `code`."""


class ImagingError(Exception):
    """The image cannot be read or made, however often it is tried.

    The message is a sentence for the person who sent the image.
    """

    code = "image_refused"


class Unreadable(ImagingError):
    """The content is damaged: it does not match the type that its first bytes announce."""

    code = "unreadable"


class Truncated(Unreadable):
    """The file ends in the middle of the image."""

    code = "truncated"


class TooComplex(Unreadable):
    """The file has more parts (blocks, chunks, segments, boxes) than any image needs."""

    code = "too_complex"


class Unsupported(Unreadable):
    """The content is of a kind of its type that is not read here, such as a rare compression."""

    code = "unsupported"


class TooManyPixels(ImagingError):
    """A frame has more pixels than the decoder accepts."""

    code = "too_many_pixels"


class TooManyFrames(ImagingError):
    """The animation has more frames than the caller accepts."""

    code = "too_many_frames"
