"""The name that a client gives a file: as a label for people, and as a part of a storage key.

It never becomes a path.
"""

import os
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Protocol

from gifster.uploads.text import LONGEST, is_visible, one_line

#: The longest name to keep (characters).
MAX_FILENAME = 255
_FORM_ESCAPES = re.compile("%(?:22|0[AaDd])")


class Named(Protocol):
    """Something with a client's file name, such as a part of a multipart form."""

    @property
    def filename(self) -> str | None:
        """The name as the form has it; None for a part that is no file."""


def safe_name(filename: str) -> str:
    """A client's file name as a part of a key: its stem in letters, digits, `-` and `_` of ASCII.

    `My Cat (1).gif` becomes `My-Cat-1`. A name without any such character becomes `file`.
    """
    stem = PurePosixPath(clean_filename(filename)).stem
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-")[:100] or "file"


def clean_filename(name: str) -> str:
    """A client's file name as a label: no folders, one line without control characters or
    direction overrides (see `text.one_line`), at most 255 characters, never invisible.

    Letters of all scripts stay. People see this name; it never becomes a path.
    """
    name = os.path.basename(name.replace("\\", "/"))
    name = one_line(_shortened(name, LONGEST)).strip(" .")
    name = _shortened(name, MAX_FILENAME).strip(" .")
    stem, dot, extension = name.rpartition(".")
    if dot and not is_visible(stem):
        name = f"upload.{extension}"
    return name if is_visible(name) else "upload"


def form_filename(part: Named) -> str:
    """The file name of a form's part, decoded.

    Browsers write a quotation mark as `%22` and line ends as `%0D` and `%0A`, and leave a percent
    sign as it is (WHATWG HTML, "multipart form data"). So only these three are decoded.
    """
    name = part.filename or ""
    return _FORM_ESCAPES.sub(lambda escape: chr(int(escape[0][1:], 16)), name)


def _shortened(name: str, most: int) -> str:
    """A file name cut to `most` characters. A short extension survives the cut."""
    if len(name) <= most:
        return name
    stem, dot, extension = name.rpartition(".")
    keep = dot + extension if stem and len(extension) <= 10 else ""
    return name[: most - len(keep)] + keep
