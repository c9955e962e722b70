"""Checks what an uploader class sets, when the class is made: a wrong value would show at the first
upload, and a misspelt limit never."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from types import FunctionType
from typing import Any

from gifster.imaging import heic
from gifster.uploads.content_types import listed
from gifster.uploads.declarations import Declared

#: What a value must be, in words; with the function that tells.
_Kind = tuple[str, Callable[[Any], bool]]

#: How alike a name must be to be taken for a misspelt one (`max_byte`, `allowed_types`). Names such
#: as `min_frame_pixels` are less alike.
_ALIKE = 0.88


def check_class(uploader: type[Any], base: type[Any]) -> None:
    """Check what a new uploader class sets, and its base classes that are no uploaders.

    Parameters:
      base: the class that all uploaders inherit.

    Raises:
      TypeError: an attribute has a value of another type, or a name that seems to be misspelt; says
        what to write.
      ValueError: no file can be within these limits; says what to write.
    """
    uploaders = [owner for owner in uploader.__mro__[1:] if issubclass(owner, base)]
    inherited = {name for owner in uploaders for name in vars(owner)}
    found: dict[str, Any] = {}
    for owner in reversed(uploader.__mro__[:-1]):
        if owner not in uploaders:
            found |= {name: value for name, value in vars(owner).items() if name[0] != "_"}
    for name, value in found.items():
        if name not in _KINDS and name not in inherited and not hasattr(value, "__get__"):
            _check_spelling(uploader, name)
        if name in _CARRIERWAVES:
            raise TypeError(
                f"{uploader.__name__}.{name} would do nothing: write {_CARRIERWAVES[name]}"
            )
        if isinstance(value, Declared):
            _check_name(uploader, name, value)
        if name in _METHODS and not (callable(value) or hasattr(value, "__get__")):
            raise TypeError(
                f"{uploader.__name__}.{name} is {value!r}: write a method, def {name}()"
            )
    check_values(uploader, {name: found[name] for name in _KINDS if name in found})


def check_values(uploader: type[Any], values: Mapping[str, Any]) -> None:
    """Raises `TypeError`, `ValueError` or `ModuleNotFoundError` unless an uploader can have these
    limits and options, by name, beside those that it has."""
    for name, value in values.items():
        if name not in _OPTIONS or isinstance(value, FunctionType) or not hasattr(value, "__get__"):
            _check_value(f"{uploader.__name__}.{name}", name, value)
        if name == "max_video_s" and value is not None and find_spec("av") is None:
            raise ModuleNotFoundError(
                f"{uploader.__name__}.max_video_s needs PyAV, which is not installed: "
                "pip install 'gifster[mp4]'",
                name="av",
            )
        # Any other descriptor of an option, such as a property, is read of each uploader object.

    def least_and_most(least: str, most: str) -> tuple[Any, Any]:
        return tuple(values.get(name, getattr(uploader, name)) for name in (least, most))

    for what, (least, most) in {
        "min_bytes and max_bytes": least_and_most("min_bytes", "max_bytes"),
        "width_range": values.get("width_range", uploader.width_range),
        "height_range": values.get("height_range", uploader.height_range),
    }.items():
        if least is not None and most is not None and least > most:
            raise ValueError(
                f"{uploader.__name__} accepts no file: {what} are {least} and {most}. Write the "
                "least first, then the greatest"
            )


def _check_value(where: str, name: str, value: Any) -> None:
    what, fits = _KINDS[name]
    if not fits(value):
        raise TypeError(f"{where} is {value!r}: write {what}")
    if name == "allow_types" and value is not None and "image/heic" in listed(value):
        heic.check_available()
    if name in ("allow_types", "extensions") and value is not None and not value:
        raise ValueError(
            f"{where} is {value!r}, which accepts no file: name what it accepts, or write None to "
            "accept any"
        )
    if name in _AT_LEAST_ONE and value is not None and value <= 0:
        raise ValueError(f"{where} is {value!r}, which accepts no file: write {what}")


def _check_spelling(uploader: type[Any], name: str) -> None:
    meant = difflib.get_close_matches(name, _KINDS, n=1, cutoff=_ALIKE)
    if meant:
        raise TypeError(
            f"{uploader.__name__}.{name} is no limit and no option of an uploader: write "
            f"{meant[0]}. An attribute of your own needs a name that is less like it"
        )


def _check_name(uploader: type[Any], name: str, declared: Declared) -> None:
    ours = (owner for owner in uploader.__mro__ if owner.__module__.startswith("gifster.uploads."))
    if name in declared.reserved or any(name in vars(owner) for owner in ours):
        raise TypeError(
            f"{uploader.__name__}.{name} would hide what every uploader has under this name: "
            "rename your method"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(side is None or _is_number(side) for side in value)
    )


def _listed(fits: Callable[[str], bool]) -> Callable[[Any], bool]:
    """Whether a value is one or several texts that fit, or patterns."""

    def one(item: Any) -> bool:
        if isinstance(item, re.Pattern):
            return isinstance(item.pattern, str)
        return isinstance(item, str) and fits(item)

    def check(value: Any) -> bool:
        if isinstance(value, (str, re.Pattern)):
            return one(value)
        several = isinstance(value, Collection) and not isinstance(value, Mapping)
        return several and all(map(one, value))

    return check


def _or_none(kind: _Kind, meaning: str) -> _Kind:
    what, fits = kind
    return f"{what}; or None for {meaning}", lambda value: value is None or fits(value)


def _a(kind: type[Any]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_TYPES: _Kind = (
    'content types, such as {"image/png", "text/*"} or re.compile("image/")',
    _listed(lambda text: re.fullmatch(r"[^/\s*;]+/(\*|[^/\s*;]+)", text) is not None),
)
_EXTENSIONS: _Kind = (
    'extensions, such as {"jpg", "png"} or re.compile("jpe?g")',
    _listed(lambda text: re.fullmatch(r"\.?[^./\s*]+", text) is not None),
)
_BYTES: _Kind = ("a number of bytes, such as 5 * 1024 * 1024", _is_number)
_PIXELS: _Kind = ("a number of pixels, such as 40_000_000", _is_number)
_SIDES: _Kind = (
    "the least and the greatest number of pixels, such as (100, 700), with None for an open side",
    _is_range,
)
_TEXT: _Kind = ("a text", _a(str))
_FLAG: _Kind = ("True or False", _a(bool))

_OPTIONS: dict[str, _Kind] = {
    "cache": ("the name of a storage of configure()", _a(str)),
    "storage": ("the name of a storage of configure()", _a(str)),
    "cache_dir": _TEXT,
    "store_prefix": _or_none(_TEXT, "none"),
    "enable_processing": _FLAG,
    "derivations_url": _TEXT,
    "keep_files": _FLAG,
    "strip_metadata": _FLAG,
    "move_to_store": _FLAG,
    "downloader": ("a Downloader, or a function of rules, URL and headers", callable),
    "remote_headers": ("a dict of headers", _a(Mapping)),
}
_KINDS: dict[str, _Kind] = _OPTIONS | {
    "allow_types": _or_none(_TYPES, "any"),
    "deny_types": _TYPES,
    "extensions": _or_none(_EXTENSIONS, "any"),
    "deny_extensions": _EXTENSIONS,
    "min_bytes": _or_none(_BYTES, "no limit"),
    "max_bytes": _or_none(_BYTES, "no limit"),
    "max_files": _or_none(("a number of files, such as 20", _is_whole), "any number"),
    "max_pixels": _PIXELS,
    "max_frame_pixels": _PIXELS,
    "max_total_pixels": _PIXELS,
    "max_frames": ("a number of frames, such as 100", _is_number),
    "max_duration_s": ("a number of seconds, such as 60", _is_number),
    "max_video_s": _or_none(("a number of seconds, such as 60", _is_number), "no videos"),
    "max_video_pixels": _PIXELS,
    "width_range": _SIDES,
    "height_range": _SIDES,
}
#: What a subclass overrides with a method.
_METHODS = {
    "store_dir", "filename", "default_url", "upload_options", "cache_owner", "fair_by",
    "before_cache", "after_cache", "before_process", "after_process", "before_store",
    "after_store", "before_remove", "after_remove",
}  # fmt: skip
#: What CarrierWave's uploaders say by methods. To leave them out silently would accept files that
#: their author refuses.
_CARRIERWAVES = {
    "content_type_allowlist": "allow_types",
    "content_type_denylist": "deny_types",
    "extension_allowlist": "extensions",
    "extension_denylist": "deny_extensions",
    "size_range": "min_bytes and max_bytes",
}
_AT_LEAST_ONE = {
    "max_bytes", "max_pixels", "max_frame_pixels", "max_total_pixels", "max_frames",
    "max_video_pixels",
}  # fmt: skip
