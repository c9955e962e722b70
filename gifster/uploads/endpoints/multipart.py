"""Finds the one file in a multipart form while the form comes in (RFC 7578).

python-multipart parses it: `pip install 'gifster[endpoints]'`.
"""

from collections.abc import Callable

from gifster.uploads.endpoints.messages import Problem

#: The names of the field with the file: Shrine's, and those of Uppy's XHR plugin.
FIELDS = {"file", "files[]"}
#: All that is no file, in all fields together (bytes).
MAX_REST = 64 * 1024


class FileInForm:
    """Takes a form piece by piece, and passes on the content of its file.

    Parameters:
      content_type: the request's header.
      begin: is called with the file's name, once its content begins.
      write: is called with each piece of the content.

    Raises:
      Problem: the header has no boundary, or one that is too long.
      ModuleNotFoundError: python-multipart is not installed.
    """

    def __init__(
        self, content_type: str, begin: Callable[[str], None], write: Callable[[bytes], None]
    ) -> None:
        try:
            from python_multipart.exceptions import FormParserError
            from python_multipart.multipart import MultipartParser, parse_options_header
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "forms at an upload endpoint need python-multipart, which is not installed: "
                "pip install 'gifster[endpoints]'",
                name="python_multipart",
            ) from error
        self._options = parse_options_header
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise malformed()
        self._begin, self._write = begin, write
        self._header, self._value = bytearray(), bytearray()
        self._disposition, self._is_file, self._rest = "", False, 0
        self.found = self.complete = False
        #: The name of a field that has a file, and should not.
        self.elsewhere = ""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": lambda data, start, end: self._header.extend(
                        data[start:end]
                    ),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._content_begins,
                    "on_part_data": self._content,
                    "on_end": self._ends,
                },
            )
        except FormParserError:  # RFC 2046, 5.1.1 allows 70 characters
            raise malformed() from None

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body.

        Raises:
          Problem: it is malformed, or has several files.
        """
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(piece)
        except FormParserError:
            raise malformed() from None

    def _part_begins(self) -> None:
        self._disposition, self._is_file = "", False

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin1")
        self._header.clear()
        self._value.clear()

    def _content_begins(self) -> None:
        # The parser takes each byte for a character. Browsers write UTF-8 (RFC 7578, 5.1).
        options = self._options(self._disposition)[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in FIELDS or b"filename" not in options:
            if options.get(b"filename"):
                self.elsewhere = name
            return
        if self.found:
            raise Problem(400, "too_many_files", "Send one file in each request.")
        self._is_file = self.found = True
        self._begin(options[b"filename"].decode("utf-8", "replace"))

    def _content(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._write(data[start:end])
            return
        self._rest += end - start
        if self._rest > MAX_REST:
            if self.elsewhere and not self.found:
                raise no_file(self.elsewhere)
            detail = f"The fields beside the file have more than {MAX_REST:,} bytes."
            raise Problem(413, "form_too_large", detail)

    def _ends(self) -> None:
        self.complete = True


def no_file(elsewhere: str) -> Problem:
    """The error of a form without a file in one of our fields.

    Parameters:
      elsewhere: the name of another field with a file; empty if there is none.
    """
    detail = "The form has no file in the field 'file'."
    if elsewhere:
        detail += f" It has one in the field {elsewhere[:80]!r}: rename that to 'file'."
    return Problem(400, "no_file", detail)


def malformed() -> Problem:
    """The error of a form that cannot be read."""
    return Problem(400, "multipart_malformed", "The multipart body is malformed or incomplete.")
