"""What the values of a web form mean: they are texts, and a file field may be left empty."""

from typing import Any

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


def content_of(part: Any) -> Any:
    """The open file with the content of a form's part."""
    return part.stream if hasattr(part, "stream") else part.file
