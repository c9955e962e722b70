"""Choose the frames that a fingerprint is computed from: mostly those that are decoded for the
versions anyway."""

from dataclasses import replace
from pathlib import Path

import PIL.Image

from gifster.imaging.fingerprint import Fingerprint, Fingerprinter
from gifster.imaging.frames import frames
from gifster.imaging.image_info import VIDEO_TYPES, ImageInfo
from gifster.imaging.plan import Plan
from gifster.imaging.timing import Timing

#: A longer video is not decoded as a whole for its difference hash alone, if only a part of it is
#: shown. The hash is of that part then.
_MAX_VIDEO_MS = 60_000


class Fingerprinting:
    """Computes the fingerprint of an animation from the frames that are decoded for its versions,
    and decodes others only if these show another part of it.

    Parameters:
      read: what `probe()` returned for it, in the size in which it is read.
      original: the part of the pictures, and the frames, that the difference hash is of.
      shown: those that the placeholder is of.
      decoded: which frames are going to be decoded.
    """

    def __init__(
        self,
        source: Path,
        read: ImageInfo,
        original: tuple[Plan, Timing],
        shown: tuple[Plan, Timing],
        decoded: Timing,
    ) -> None:
        self._source, self._read, self._decoded = source, read, decoded
        self._original, self._shown = original[1], shown[1]
        if read.content_type in VIDEO_TYPES and read.duration_ms > _MAX_VIDEO_MS:
            self._original = decoded
        self._is_decoded = not decoded.shows_another_part(self._original)
        counted = decoded if self._is_decoded else self._original
        sampled = replace(read, frames=counted.count(read.frames, read.duration_ms))
        self.fingerprinter = Fingerprinter(sampled, original[0], shown[0])

    def add(self, number: int, picture: PIL.Image.Image) -> None:
        """Take a frame of those that are decoded into account."""
        if number == 0 and self._decoded.start_ms == self._shown.start_ms:
            self.fingerprinter.show(picture)
        if self._is_decoded:
            self.fingerprinter.add(number, picture)

    def fingerprint(self) -> Fingerprint:
        """The fingerprint, once all these frames were added."""
        if not self._is_decoded:
            for number, frame in enumerate(frames(self._source, self._read, self._original)):
                self.fingerprinter.add(number, frame.picture)
        if self._decoded.start_ms != self._shown.start_ms:
            start = Timing(self._shown.start_ms)
            self.fingerprinter.show(next(frames(self._source, self._read, start)).picture)
        return self.fingerprinter.fingerprint()
