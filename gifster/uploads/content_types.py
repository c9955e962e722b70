"""Content types: what a file is, by its content and, where that is not enough, by its name.

1. A signature in the content decides (`imaging.probe.sniff`), whatever the name says. Within a
   container the name may say which kind it is: a Word file is a ZIP file, or an OLE file.
2. A file without a signature is a text if its name has a text's extension and its content looks
   like a text. The name says which kind (`text/csv`), unless the content is HTML, SVG or XML, or
   contradicts the name.
3. Any other file is `application/octet-stream`.

So a client can give a text one of its names, and nothing else: no binary file becomes a page. Some
types are not shown within a site, whoever serves them (`is_inline`).
"""

import re
from collections.abc import Collection

from gifster.imaging.image_info import IMAGE_EXTENSIONS, UNKNOWN_TYPE
from gifster.imaging.image_info import extension as known_extension
from gifster.imaging.probe import sniff

__all__ = [
    "HEAD_BYTES",
    "TYPES_BY_NAME",
    "UNKNOWN_TYPE",
    "Types",
    "detect",
    "extension",
    "extension_of",
    "is_inline",
    "is_inline_key",
    "listed",
    "matches",
    "matches_extension",
    "named_type",
    "text_extension",
]

#: How many bytes `detect()` needs: as many as `filetype` looks at.
HEAD_BYTES = 8192

#: One or several types or extensions: exact, with a `*` (`image/*`), or as patterns.
Types = str | re.Pattern[str] | Collection[str | re.Pattern[str]]

#: Texts, and their extensions, the usual one of each type first.
_TEXTS = {
    "text/plain": "txt text log ini cfg conf",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv tab",
    "text/markdown": "md markdown",
    "text/html": "html htm",
    "text/css": "css",
    "text/javascript": "js mjs",
    "text/calendar": "ics",
    "text/vcard": "vcf vcard",
    "text/vtt": "vtt",
    "text/x-rst": "rst",
    "text/x-python": "py",
    "text/x-diff": "diff patch",
    "application/json": "json",
    "application/geo+json": "geojson",
    "application/ld+json": "jsonld",
    "application/x-ndjson": "ndjson jsonl",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/sql": "sql",
    "application/x-subrip": "srt",
    "application/x-tex": "tex",
    "application/xml": "xml",
    "application/xhtml+xml": "xhtml",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/gpx+xml": "gpx",
    "application/vnd.google-earth.kml+xml": "kml",
    "image/svg+xml": "svg",
}
_OOXML = "application/vnd.openxmlformats-officedocument."
_ZIPS = {
    f"{_OOXML}wordprocessingml.document": "docx",
    f"{_OOXML}wordprocessingml.template": "dotx",
    f"{_OOXML}spreadsheetml.sheet": "xlsx",
    f"{_OOXML}spreadsheetml.template": "xltx",
    f"{_OOXML}presentationml.presentation": "pptx",
    f"{_OOXML}presentationml.template": "potx",
    f"{_OOXML}presentationml.slideshow": "ppsx",
}
_OLES = {
    "application/msword": "doc dot",
    "application/vnd.ms-excel": "xls xlt",
    "application/vnd.ms-powerpoint": "ppt pps",
    "application/vnd.ms-outlook": "msg",
    "application/vnd.visio": "vsd",
}
_UNKNOWN_OLE = "application/x-ole-storage"


def _by_extension(kinds: dict[str, str]) -> dict[str, str]:
    return {name: kind for kind, names in kinds.items() for name in names.split()}


_TEXT_BY_NAME, _ZIP_BY_NAME, _OLE_BY_NAME = map(_by_extension, (_TEXTS, _ZIPS, _OLES))
#: The types of texts and documents, by the extensions of their names.
TYPES_BY_NAME = _TEXT_BY_NAME | _ZIP_BY_NAME | _OLE_BY_NAME
_EXTENSIONS = {kind: names.split()[0] for kind, names in (_TEXTS | _ZIPS | _OLES).items()}
#: Types with a signature that are texts all the same.
_TEXT_SIGNATURES = ("application/pdf", "application/rtf", "application/postscript", "text/")

_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: The names of files that an Office file begins with, and where the first name is in a ZIP file.
_OOXML_FIRST = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"word/", b"xl/", b"ppt/")
_ZIP_NAME_AT = 30
#: Bytes that no text has (WHATWG MIME Sniffing, "binary data byte").
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BYTE_ORDER_MARKS = {b"\xfe\xff": "utf-16-be", b"\xff\xfe": "utf-16-le"}
#: What may come before the first element of HTML or XML, and that element's name.
_BEFORE_ROOT = re.compile(
    r"\ufeff?(?:\s+|<\?.*?\?>|<!--.*?-->|<!doctype(?:\[[^\]]*+\]|[^\[>])*+>)*+",
    re.DOTALL | re.IGNORECASE,
)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([a-zA-Z][\w.-]*)(?=[\s/>])")
_HTML_DOCTYPE = re.compile(r"<!doctype\s+html", re.IGNORECASE)
_HTML = {"html", "head", "body", "script", "iframe", "title", "style", "meta", "link", "base"}
_JSON = re.compile(r'\ufeff?\s*(?:[\[{"\d-]|true|false|null)')
#: Types that a browser may show within a site. No script runs in them.
_INLINE = ("image/", "video/", "audio/")
_INLINE_TEXTS = {"text/plain", "application/pdf"}


def detect(head: bytes, filename: str = "") -> str:
    """The content type of a file; `UNKNOWN_TYPE` if it is unclear.

    Parameters:
      head: its first `HEAD_BYTES` bytes.
      filename: the name that the client gave it, or its storage key.
    """
    head, ending = head[:HEAD_BYTES], extension_of(filename)
    known = sniff(head)
    if known in IMAGE_EXTENSIONS:
        return known
    if head.startswith(_OLE_SIGNATURE):
        return _OLE_BY_NAME.get(ending) or (known if known in _OLES else _UNKNOWN_OLE)
    if known == "application/zip" or known in _ZIPS:
        is_office = head.startswith(_OOXML_FIRST, _ZIP_NAME_AT)
        by_name = _ZIP_BY_NAME.get(ending) if is_office else None
        # The templates look like documents, and a ZIP file of Word no spreadsheet.
        return by_name if by_name and _same_program(by_name, known) else known
    text = _text(head)
    # Some signatures are two letters, which a text may begin with: BM, MZ.
    if known != UNKNOWN_TYPE and (text is None or known.startswith(_TEXT_SIGNATURES)):
        return known
    kind = _TEXT_BY_NAME.get(ending)
    return UNKNOWN_TYPE if text is None or kind is None else _kind_of_text(text, kind)


def _same_program(by_name: str, known: str) -> bool:
    if known == "application/zip":
        return True
    return by_name.removeprefix(_OOXML)[:5] == known.removeprefix(_OOXML)[:5]


def _text(head: bytes) -> str | None:
    """The beginning of a text; None for other content."""
    encoding = _BYTE_ORDER_MARKS.get(head[:2])
    if encoding is not None:
        text = head[: len(head) // 2 * 2].decode(encoding, "replace")
        return None if _BINARY.search(text.encode()) else text
    return None if _BINARY.search(head) else head.decode("utf-8", "replace")


def _kind_of_text(text: str, kind: str) -> str:
    """The type of a text, by its beginning and the kind that its name says."""
    start = _BEFORE_ROOT.match(text)
    root = _ROOT.match(text, start.end() if start else 0)
    name = root[1].lower() if root else ""
    is_xml = text.lstrip("\ufeff \t\r\n").startswith("<?xml")
    if name == "svg":
        return "image/svg+xml"
    if start and _HTML_DOCTYPE.search(start[0]):
        return "text/html" if not is_xml else "application/xhtml+xml"
    if name in _HTML and kind not in ("text/markdown", "text/x-rst"):
        return "application/xhtml+xml" if is_xml else "text/html"
    says_xml = kind == "application/xml" or kind.endswith("+xml")
    if is_xml or (says_xml and root):
        return kind if says_xml and kind not in ("image/svg+xml", "application/xhtml+xml") else (
            "application/xml"
        )  # fmt: skip
    says_json = kind == "application/json" or kind.endswith(("+json", "ndjson"))
    if says_xml or (says_json and not _JSON.match(text)):
        return "text/plain"
    return kind


def extension_of(filename: str) -> str:
    """The extension of a file name, in lower case and without the dot; empty if it has none."""
    return filename.rpartition(".")[2].lower() if "." in filename else ""


def named_type(filename: str) -> str | None:
    """The type of a text or document that has such a name; None for other names."""
    return TYPES_BY_NAME.get(extension_of(filename))


def extension(content_type: str, filename: str = "") -> str:
    """The extension for a stored file's key, without a dot; `bin` if none is known.

    It follows from the type, so that a server that goes by the extension serves what the file is.
    Among the extensions of one type (`htm` and `html`), the client's is kept.
    """
    ending = extension_of(filename)
    if TYPES_BY_NAME.get(ending) == content_type:
        return ending
    return _EXTENSIONS.get(content_type) or known_extension(content_type)


def text_extension(content_type: str) -> str:
    """The extension of a kind of text, without a dot; empty for other types."""
    return _TEXTS.get(content_type, "").partition(" ")[0]


def is_inline(content_type: str) -> bool:
    """Whether browsers may show files of this type within a site. Scripts can run in the others,
    such as HTML, SVG and XML, so they are served as attachments."""
    content_type = content_type.partition(";")[0].strip().lower()
    if content_type.endswith("+xml"):
        return False
    return content_type.startswith(_INLINE) or content_type in _INLINE_TEXTS


def is_inline_key(key: str) -> bool:
    """Whether browsers may show the file under a storage key within a site, by its extension. Files
    whose extension is not one of a text or a document are shown."""
    kind = named_type(key)
    return kind is None or is_inline(kind)


def listed(allowed: Types | None) -> list[str | re.Pattern[str]]:
    """The items of a list of types or extensions, or the single one."""
    if allowed is None:
        return []
    return [allowed] if isinstance(allowed, (str, re.Pattern)) else list(allowed)


def matches(content_type: str, allowed: Types) -> bool:
    """Whether a content type is in a list.

    A text stands for itself, or with `/*` at its end for all types that begin like it. A pattern
    must match at the beginning of the type, as in CarrierWave.
    """
    for item in listed(allowed):
        if isinstance(item, re.Pattern):
            if item.match(content_type):
                return True
        elif item.endswith("/*"):
            if content_type.startswith(item[:-1].lower()):
                return True
        elif content_type == item.lower():
            return True
    return False


def matches_extension(ending: str, allowed: Types) -> bool:
    """Whether an extension (in lower case, without the dot) is in a list.

    A text stands for itself in any case. A pattern must match the whole extension, in any case, as
    in CarrierWave.
    """
    for item in listed(allowed):
        if isinstance(item, re.Pattern):
            if re.fullmatch(item.pattern, ending, item.flags | re.IGNORECASE):
                return True
        elif ending == item.lower().removeprefix("."):
            return True
    return False
