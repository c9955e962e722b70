"""What is known of an image: its type, and the facts that `probe` reads from its structure."""

from dataclasses import dataclass

import filetype

from gifster.imaging import heic

#: The content type of files whose type is not known.
UNKNOWN_TYPE = "application/octet-stream"
#: The types that are read as images, and their file name extensions.
IMAGE_EXTENSIONS = {
    "image/gif": "gif",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/heic": "heic",
}
#: Those of them that can be read here: HEIC needs an extra.
TAKEN_TYPES = frozenset(IMAGE_EXTENSIONS) - (set() if heic.is_available() else {"image/heic"})

#: The types of videos that `probe(videos=True)` reads, and FFmpeg's names of their demuxers.
VIDEO_TYPES = {
    "video/mp4": "mov",
    "video/x-m4v": "mov",
    "video/quicktime": "mov",
    "video/webm": "matroska",
}


@dataclass(frozen=True)
class ImageInfo:
    """Facts of one image.

    A file that is no image has a content type and a size, a film (MP4, WebM) also width and height;
    all other facts are 0.

    Attributes:
      content_type: such as `image/gif`.
      width, height: in pixels, of the picture turned upright by its orientation.
      frames: the number of frames; 1 for a still.
      duration_ms: the duration of one pass in browsers, which display a frame with a delay of up to
        10 ms for 100 ms.
      loop: how often an animation plays in all, 0 for forever; None if the file does not tell (a
        still, or a GIF that plays once).
      bytes: the size of the file.
      has_sound: whether it is a video with sound, which no version has.
    """

    content_type: str
    width: int
    height: int
    frames: int = 1
    duration_ms: int = 0
    loop: int | None = None
    bytes: int = 0
    has_sound: bool = False

    @property
    def is_image(self) -> bool:
        """Whether it is an image in one of the formats that are read here."""
        return self.frames > 0


def extension(content_type: str) -> str:
    """The file name extension for a content type, without a dot; `bin` if none is known."""
    if content_type in IMAGE_EXTENSIONS:
        return IMAGE_EXTENSIONS[content_type]
    known = filetype.get_type(mime=content_type) if content_type != UNKNOWN_TYPE else None
    return known.extension if known is not None else "bin"
