"""Edits: which part of a picture its versions show, and how many frames a second.

An edit is a column of the GIF. The original stays as it was uploaded; `ImageUploader.edited` is the
step with which all versions begin.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import peewee

from gifster.app.errors import Invalid
from gifster.imaging import Image, ImageInfo
from gifster.jobs.database_errors import reads
from gifster.jobs.wording import alternatives, missing, wrong

#: How many frames a second an edit may ask for.
MIN_FPS, MAX_FPS = 1, 60
#: No picture lasts so many seconds, or has a side of so many pixels.
_MOST = 2**31

_SIDES = ("x", "y", "width", "height")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_CROP = re.compile(r"\s*,\s*".join([r"(-?[0-9]{1,9})"] * 4), re.ASCII)


@dataclass(frozen=True)
class Crop:
    """A box of the upright picture (pixels)."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Edit:
    """What is done to a picture before its versions are made.

    Attributes:
      start, end: the part of what moves (seconds); None is its beginning or its end.
      fps: the most frames a second; None leaves them as they are.
      crop: the box to keep; None keeps all.
    """

    start: float | None = None
    end: float | None = None
    fps: float | None = None
    crop: Crop | None = None

    def __bool__(self) -> bool:
        return self.applied(Image()) != Image()

    def applied(self, image: Image) -> Image:
        """A recipe with the edit's steps."""
        if self.start or self.end is not None:
            image = image.trim(self.start or 0, self.end)
        if self.fps is not None:
            image = image.fps(self.fps)
        if self.crop is not None:
            image = image.crop(self.crop.width, self.crop.height, self.crop.x, self.crop.y)
        return image

    def selected(self, frames: int, duration_ms: int) -> tuple[int, int]:
        """About how many frames of an animation it selects, and how long they play (milliseconds).

        Parameters:
          frames, duration_ms: of the whole animation.
        """
        end_ms = duration_ms if self.end is None else round(self.end * 1000)
        part_ms = max(0, min(end_ms, duration_ms) - round((self.start or 0) * 1000))
        if frames < 2 or not duration_ms:
            return frames, duration_ms
        most = frames if self.fps is None else math.ceil(part_ms / 1000 * self.fps)
        return max(1, min(math.ceil(frames * part_ms / duration_ms), most)), part_ms

    def as_json(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        return asdict(self)

    def check(self, info: ImageInfo) -> None:
        """Raises `Invalid` unless a picture with these facts can be edited so."""
        if (self.start is not None or self.end is not None or self.fps) and info.frames < 2:
            raise _invalid("The picture does not move: leave start, end and fps out.")
        lasts_s = info.duration_ms / 1000
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and round(moment * 1000) > info.duration_ms:
                raise _invalid(f"{name} is {moment:g} s, and the picture ends at {lasts_s:g} s.")
        if self.start is not None and round(self.start * 1000) >= info.duration_ms:
            raise _invalid(
                f"start is {self.start:g} s, and the picture ends at {lasts_s:g} s: "
                "this leaves no frame."
            )
        crop = self.crop
        if crop is None:
            return
        if crop.x + crop.width > info.width or crop.y + crop.height > info.height:
            raise _invalid(
                f"crop is {crop.width}×{crop.height} pixels at {crop.x}, {crop.y}, and the picture "
                f"has {info.width}×{info.height}: the box must lie within it."
            )


def read(sent: object) -> Edit | None:
    """The edit that a JSON value asks for; None for null, or if it changes nothing.

    Raises:
      Invalid: it is no edit (`edit_invalid`).
    """
    if sent is None:
        return None
    members = _members("edit", sent, ("start", "end", "fps", "crop"))
    crop = members.get("crop")
    edit = Edit(
        _moment("start", members.get("start")),
        _moment("end", members.get("end")),
        _fps(members.get("fps")),
        None if crop is None else _crop(crop),
    )
    if edit.end is not None and round(edit.end * 1000) <= round((edit.start or 0) * 1000):
        raise _invalid(
            f"start is {edit.start or 0:g} s, and end is {edit.end:g} s: this leaves no frame. "
            "The start must come before the end."
        )
    return edit or None


def read_form(first: Callable[[str], str]) -> Edit | None:
    """The edit of a form's fields `start`, `end`, `fps` and `crop`; empty ones count as left out.

    Parameters:
      first: gives the value of a field, or an empty text.

    Raises:
      Invalid: it is no edit (`edit_invalid`).
    """
    sent: dict[str, object] = {}
    for name in ("start", "end", "fps"):
        if text := first(name).strip():
            if not _NUMBER.fullmatch(text):
                raise _invalid(f"{name} is {text[:40]!r}: write a number, such as 2.5.")
            sent[name] = float(text)
    if text := first("crop").strip():
        found = _CROP.fullmatch(text)
        if found is None:
            raise _invalid(
                f"crop is {text[:60]!r}: write x,y,width,height in pixels, such as 0,0,320,180."
            )
        sent["crop"] = dict(zip(_SIDES, map(int, found.groups()), strict=True))
    return read(sent)


def merged(edit: Edit | None, patch: object) -> object:
    """The JSON of an edit after a merge patch of it (RFC 7396)."""
    return _merge(None if edit is None else edit.as_json(), patch)


def _merge(target: object, patch: object) -> object:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value)
    return result


def _members(what: str, sent: object, names: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(sent, dict):
        raise _invalid(wrong(what, sent, f"an object with {', '.join(names)}, or null"))
    for name in sent:
        if name not in names:
            raise _invalid(f"{what} has no member {name[:40]!r}: use {alternatives(names)}.")
    return sent


def _moment(name: str, sent: object) -> float | None:
    number = _number(name, sent)
    if number is not None and number < 0:
        raise _invalid(f"{name} is {number:g} s: it must be at least 0.")
    return number


def _fps(sent: object) -> float | None:
    number = _number("fps", sent)
    if number is not None and not MIN_FPS <= number <= MAX_FPS:
        raise _invalid(f"fps is {number:g}: use {MIN_FPS} to {MAX_FPS}.")
    return number


def _number(name: str, sent: object) -> float | None:
    if sent is None:
        return None
    if isinstance(sent, bool) or not isinstance(sent, (int, float)):
        raise _invalid(wrong(name, sent, "a number, or null"))
    if not abs(sent) < _MOST:  # neither is NaN
        raise _invalid(f"{name} is no number that a picture could have.")
    return sent


def _crop(sent: object) -> Crop:
    members = _members("crop", sent, _SIDES)
    numbers = []
    for name in _SIDES:
        if name not in members:
            raise _invalid(missing(f"crop.{name}", "a whole number of pixels"))
        value = members[name]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _MOST:
            raise _invalid(wrong(f"crop.{name}", value, "a whole number of pixels"))
        least = 0 if name in ("x", "y") else 1
        if value < least:
            raise _invalid(f"crop.{name} is {value}: it must be at least {least}.")
        numbers.append(value)
    return Crop(*numbers)


def _invalid(message: str) -> Invalid:
    return Invalid("edit_invalid", message)


if TYPE_CHECKING:
    _Text = peewee.Field[Edit | None]
else:
    _Text = peewee.TextField


class EditField(_Text):
    """An `Edit` as JSON, or null."""

    def db_value(self, value: Edit | None) -> str | None:
        return json.dumps(value.as_json()) if value else None

    @reads
    def python_value(self, value: str | None) -> Edit | None:
        if value is None:
            return None
        known = json.loads(value)
        crop = known["crop"]
        return Edit(**known | {"crop": None if crop is None else Crop(**crop)})
