"""The limits of an uploader, and the checks for them.

`CacheWriter` calls each check as soon as enough of an upload is there.
"""

import re
from typing import Any

from gifster.imaging.image_info import (
    IMAGE_EXTENSIONS,
    TAKEN_TYPES,
    UNKNOWN_TYPE,
    VIDEO_TYPES,
    ImageInfo,
)
from gifster.uploads.content_types import (
    Types,
    detect,
    extension,
    extension_of,
    listed,
    matches,
    matches_extension,
)
from gifster.uploads.errors import (
    DimensionsNotAllowed,
    EmptyFile,
    ExtensionNotAllowed,
    TooLarge,
    TooLong,
    TooManyFrames,
    TooManyPixels,
    TooSmall,
    TypeNotAllowed,
)
from gifster.uploads.files.declared_limits import check_class, check_values
from gifster.uploads.files.declared_types import may_be_accepted

MIB = 1024 * 1024
#: The least and the greatest value; None leaves a side open.
Range = tuple[int | None, int | None]
#: The stills that take more memory to decode than others: how many times `max_frame_pixels` they
#: may have.
_FRAMES_OF_STILLS = {"image/webp": 2, "image/avif": 2, "image/heic": 3}
#: The names of formats that are not written in capitals.
_MIXED_CASE = {"image/webp": "WebP", "video/webm": "WebM"}


class Limits:
    """The limits of an uploader, which inherits from this class. Override those that differ."""

    #: The name of the storage where uploads wait.
    cache = "cache"
    #: The folder of their keys there.
    cache_dir = ""
    #: The beginning of all its stored keys, which no other uploader shares. Only the sweep uses it,
    #: and only if `store_dir()` needs more of a record than its primary key (see `sweep`).
    store_prefix: str | None = None
    #: Whether an original loses its metadata before it is stored: EXIF with the place, XMP, IPTC,
    #: comments, texts, thumbnails, C2PA, a film behind it. The pixels, the orientation and the
    #: colour profile stay (see `gifster.imaging.stripping`). Versions never have any.
    strip_metadata = False
    #: The content types to accept: one or several, exact or with a wildcard (`image/*`), or as
    #: patterns (`re.compile`), which must match at the beginning. None accepts any. The content
    #: decides what a file is (see `content_types`); if it does not tell, the file is
    #: `application/octet-stream`. The default is all that `gifster.imaging` can read: HEIC only if
    #: pillow-heif is installed (the extra `heic`).
    allow_types: Types | None = TAKEN_TYPES
    #: Content types to refuse, even if `allow_types` has them.
    deny_types: Types = frozenset()
    #: The extensions that the client's file name may have, without the dot and in any case, or
    #: patterns for the whole of them; None accepts any. This is only a courtesy to people: the
    #: content decides what a file is.
    extensions: Types | None = None
    #: Extensions to refuse, even if `extensions` has them.
    deny_extensions: Types = frozenset()
    #: The least size (bytes); None is no limit, but no file may be empty.
    min_bytes: int | None = 1
    #: The greatest size (bytes); None is no limit.
    max_bytes: int | None = 50 * MIB
    #: How many files a list-valued column may have; None for any number. The row names them all, so
    #: a long list makes each save slow. A list that is longer already can be changed, but not grow.
    max_files: int | None = 1_000
    #: The greatest width × height of a still (pixels). Decoding takes less than 300 MB within this
    #: limit and the next two; versions that are as large as a large original take more.
    max_pixels = 40_000_000
    #: The greatest width × height of an animation's frame (pixels); the default is 4K. A WebP or
    #: AVIF still may have twice as many, and a HEIC three times: they take more memory to decode
    #: than other stills.
    max_frame_pixels = 8_300_000
    #: The greatest sum of width × height over all frames of an animation (pixels).
    max_total_pixels = 2_000_000_000
    #: The greatest number of frames of an animation.
    max_frames = 5_000
    #: How long an animation may play once (seconds).
    max_duration_s = 3_600
    #: How long a video may be (seconds) that is read as an animation, by PyAV (the extra `mp4`).
    #: Its versions are GIFs, unless they convert. None: a video is a file like others.
    max_video_s: float | None = None
    #: The greatest sum of width × height over all frames of such a video (pixels).
    max_video_pixels = 8_000_000_000
    #: The least and the greatest width (pixels), both included; None leaves a side open.
    width_range: Range = (None, None)
    #: The least and the greatest height (pixels), both included; None leaves a side open.
    height_range: Range = (None, None)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_class(cls, Limits)

    @classmethod
    def set_limits(cls, **limits: Any) -> None:
        """Set limits of this uploader, and of those that inherit them, once the settings are known.

        Parameters:
          limits: by name, such as `max_bytes`.

        Raises:
          TypeError: there is no limit of that name, or it has a value of another type.
          ValueError: no file can be within these limits. No limit is set then.
        """
        if unknown := sorted(set(limits) - _LIMITS):
            raise TypeError(f"{cls.__name__} has no limit {unknown[0]!r}")
        check_values(cls, limits)
        for name, value in limits.items():
            setattr(cls, name, value)

    @classmethod
    def check_name(cls, filename: str) -> None:
        """Raises `ExtensionNotAllowed` unless the name ends in one of `extensions`, and in none of
        `deny_extensions`."""
        ending = extension_of(filename)
        if matches_extension(ending, cls.deny_extensions):
            raise ExtensionNotAllowed(f"Files whose name ends in .{ending} are not accepted.")
        if cls.extensions is not None and not matches_extension(ending, cls.extensions):
            names = ", ".join(
                sorted(f".{_text(name).removeprefix('.')}" for name in listed(cls.extensions))
            )
            raise ExtensionNotAllowed(f"The file's name must end in one of: {names}.")

    @classmethod
    def check_bytes(cls, size: int) -> None:
        """Raises `TooLarge` for a file of more than `max_bytes`."""
        if cls.max_bytes is not None and size > cls.max_bytes:
            raise TooLarge(f"The file is too large. The limit is {_human(cls.max_bytes)}.")

    @classmethod
    def check_type(cls, head: bytes, filename: str = "") -> str:
        """The content type of a file.

        Parameters:
          head: its first `HEAD_BYTES` bytes.
          filename: the client's name for it, which says what kind of text or document it is.

        Raises:
          TypeNotAllowed: it is not one of `allow_types`, or it is one of `deny_types`.
        """
        content_type = detect(head, filename)
        if not cls._accepts(content_type):
            raise cls._not_allowed(content_type)
        return content_type

    @classmethod
    def check_declared(cls, filename: str, size: int, content_type: str = "") -> None:
        """Check what a client says about a file that it has not sent yet.

        Parameters:
          size: in bytes.
          content_type: empty or `application/octet-stream` if the client does not know.

        Raises:
          UploadError: whatever it contains, such a file is refused.
        """
        cls.check_name(filename)
        cls.check_bytes(size)
        cls._check_least(size)
        if not may_be_accepted(content_type, filename, cls._accepts):
            raise cls._not_allowed(content_type.partition(";")[0].strip().lower())

    @classmethod
    def _accepts(cls, content_type: str) -> bool:
        if matches(content_type, cls.deny_types):
            return False
        return cls.allow_types is None or matches(content_type, cls.allow_types)

    @classmethod
    def _not_allowed(cls, content_type: str) -> TypeNotAllowed:
        if cls.allow_types is None or matches(content_type, cls.deny_types):
            return TypeNotAllowed(f"Files of type {_name(content_type)} are not accepted.")
        allowed = {_text(item) for item in listed(cls.allow_types)}
        if "video/mp4" in allowed:
            allowed.discard("video/x-m4v")  # Apple's MP4, which people know by that name
        names = ", ".join(sorted(map(_name, allowed), key=str.lower))
        return TypeNotAllowed(f"The file must be one of these types: {names}.")

    @classmethod
    def check_complete(cls, size: int, head: bytes, filename: str = "") -> str:
        """The content type of a complete file; see `check_type()`.

        Raises:
          EmptyFile, TooSmall or TypeNotAllowed.
        """
        cls._check_least(size)
        return cls.check_type(head, filename)

    @classmethod
    def _check_least(cls, size: int) -> None:
        if size == 0:
            raise EmptyFile("The file is empty.")
        if cls.min_bytes is not None and size < cls.min_bytes:
            raise TooSmall(f"The file is too small. The least is {_human(cls.min_bytes)}.")

    @classmethod
    def frames_counted(cls) -> int:
        """How many frames of a file are counted before it is refused. An uploader whose
        `check_info()` takes files of more frames than `max_frames` returns a larger number."""
        return cls.max_frames

    @classmethod
    def check_info(cls, info: ImageInfo) -> None:
        """Raises `TooManyPixels`, `DimensionsNotAllowed`, `TooManyFrames` or `TooLong`."""
        if not info.is_image:
            return
        moves, pixels = info.frames > 1, info.width * info.height
        frames = 1 if moves else _FRAMES_OF_STILLS.get(info.content_type)
        most = min(cls.max_pixels, frames * cls.max_frame_pixels if frames else cls.max_pixels)
        if pixels > most:
            what = _moving(info) if moves else f"{_name(info.content_type)} image"
            raise TooManyPixels(
                f"The {what} is {info.width}×{info.height} pixels; "
                f"the limit is {most / 1e6:g} million."
            )
        _check_side("wide", info.width, cls.width_range)
        _check_side("high", info.height, cls.height_range)
        if info.frames > cls.max_frames:
            raise TooManyFrames(
                f"The {_moving(info)} has {info.frames} frames; the limit is {cls.max_frames}."
            )
        is_video = info.content_type in VIDEO_TYPES
        total = cls.max_video_pixels if is_video else cls.max_total_pixels
        if moves and pixels * info.frames > total:
            raise TooManyPixels(
                f"The {_moving(info)} has {info.frames} frames of {info.width}×{info.height} "
                f"pixels; the limit for all of them is {total / 1e6:g} million pixels."
            )
        longest_s = cls.max_video_s if is_video and cls.max_video_s else cls.max_duration_s
        if info.duration_ms > longest_s * 1000:
            raise TooLong(
                f"The {_moving(info)} plays for {info.duration_ms / 1000:.0f} seconds; "
                f"the limit is {longest_s:g}."
            )


#: The names of the limits.
_LIMITS = frozenset(
    name
    for name, value in vars(Limits).items()
    if not name.startswith("_") and not isinstance(value, classmethod)
)


def _moving(info: ImageInfo) -> str:
    return "video" if info.content_type in VIDEO_TYPES else "animation"


def _check_side(word: str, pixels: int, allowed: Range) -> None:
    least, most = allowed
    said = f"The image is {pixels} {'pixel' if pixels == 1 else 'pixels'} {word}"
    if least is not None and pixels < least:
        raise DimensionsNotAllowed(f"{said}; the least is {least}.")
    if most is not None and pixels > most:
        raise DimensionsNotAllowed(f"{said}; the limit is {most}.")


def _name(content_type: str) -> str:
    """A content type as people know it: GIF, WebM, DOCX; itself if it has no such name."""
    if content_type == UNKNOWN_TYPE:
        return "unknown"
    if content_type in _MIXED_CASE:
        return _MIXED_CASE[content_type]
    if content_type in IMAGE_EXTENSIONS:
        return content_type.partition("/")[2].upper()
    name = extension(content_type)
    return content_type if name == "bin" else name.upper()


def _text(item: str | re.Pattern[str]) -> str:
    return item if isinstance(item, str) else item.pattern


def _human(size: int) -> str:
    return f"{round(size / MIB, 1):.10g} MiB" if size >= MIB else f"{size} bytes"
