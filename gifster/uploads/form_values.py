"""What the values of a web form or of a JSON body mean.

Those of a form are texts and files, and a file field may be left empty. A JSON body can have
anything where a text or a list should be.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

#: The texts that mean false in Rails (`ActiveModel::Type::Boolean`), in lower case.
_FALSE = {"", "0", "f", "false", "off"}


def is_true(value: object) -> bool:
    """Whether a check box is checked. The texts `""`, `"0"`, `"f"`, `"false"` and `"off"` mean
    false, in any case."""
    return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)


def is_blank(value: object) -> bool:
    """Whether it is None, or a text without a visible character."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_form_part(value: Any) -> bool:
    """Whether it is a part of a multipart form with a file: it has a `filename`, and a `stream` or
    a `file` to read from."""
    return hasattr(value, "filename") and (hasattr(value, "stream") or hasattr(value, "file"))


def is_list(value: object) -> bool:
    """Whether it is a list of values: anything that can be iterated over, but no text, no object of
    JSON, and no file."""
    if isinstance(value, list):
        return True
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        return False
    return isinstance(value, Iterable) and not (is_form_part(value) or hasattr(value, "read"))


def texts_of(value: object) -> list[str] | None:
    """The texts of a list, or of a single one, without those that are blank; none of None. None if
    it has anything else."""
    if value is None or isinstance(value, str):
        value = [value]
    if not is_list(value):
        return None
    found = [text for text in cast("Iterable[Any]", value) if not is_blank(text)]
    return found if all(isinstance(text, str) for text in found) else None


def content_of(part: Any) -> Any:
    """The open file with the content of a form's part."""
    return part.stream if hasattr(part, "stream") else part.file
