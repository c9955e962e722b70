"""Content types: what a file's content and name say together, and what browsers may show."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gifster.uploads import Uploader, UploadError
from gifster.uploads.content_types import UNKNOWN_TYPE, detect, extension, is_inline
from gifster.uploads.errors import ExtensionNotAllowed, TypeNotAllowed
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.storage.copy import copy_one
from gifster.uploads.testing import MemoryStorage
from tests import images
from tests.s3 import S3Server
from tests.uploads import plain_s3
from tests.uploads.framework import Application
from tests.uploads.one_file import content, model, saved

OOXML = "application/vnd.openxmlformats-officedocument."
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
CSV = b"name,city\r\nAnn,M\xfcnchen\r\n"  # as spreadsheets write it, not in UTF-8
SVG = b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'
HTML = b"\n<!DOCTYPE html>\n<html><script>alert(1)</script></html>"


def zipped(*names: str, mimetype: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        if mimetype:
            file.writestr("mimetype", mimetype)
        for name in names:
            file.writestr(name, "content")
    return buffer.getvalue()


DOCX = zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml")

#: What a file is, by its content and name; and the extension that it is stored with.
FILES = [
    # Texts need a name that says so
    (CSV, "addresses.csv", "text/csv", "csv"),
    (b"bork bork bork", "bork.txt", "text/plain", "txt"),
    (b"bork bork bork", "server.LOG", "text/plain", "log"),
    (b'{"bork": "bork"}\n', "bork.json", "application/json", "json"),
    (b"# Title", "README.md", "text/markdown", "md"),
    (b"a: 1", "x.yml", "application/yaml", "yml"),
    ("Grüße".encode("utf-16"), "x.txt", "text/plain", "txt"),
    (b"bork bork bork", "bork.txtt", UNKNOWN_TYPE, "bin"),
    (b"bork bork bork", "", UNKNOWN_TYPE, "bin"),
    (b"BMW and MZ", "cars.csv", "text/csv", "csv"),  # not a bitmap
    # Their content must agree
    (b"\x00\x01\x02", "x.csv", UNKNOWN_TYPE, "bin"),
    (b"bork", "x.json", "text/plain", "txt"),
    (b"bork", "x.svg", "text/plain", "txt"),
    (b"this is stuff", "test.jpg", UNKNOWN_TYPE, "bin"),
    # HTML, SVG and XML are what they are, whatever text their name says
    (SVG, "ruby.svg", "image/svg+xml", "svg"),
    (SVG, "innocent.txt", "image/svg+xml", "svg"),
    (SVG.replace(b"svg ", b"s:svg "), "innocent.txt", "image/svg+xml", "svg"),
    ("\ufeff<svg>".encode("utf-16-le"), "innocent.txt", "image/svg+xml", "svg"),
    (HTML, "page.htm", "text/html", "htm"),
    (HTML, "innocent.csv", "text/html", "html"),
    (b"<script>alert(1)</script>", "innocent.txt", "text/html", "html"),
    (b"<!--" + b" " * 9000 + b"--><svg>", "x.svg", "text/plain", "txt"),
    (b'<?xml version="1.0"?><html/>', "x.txt", "application/xhtml+xml", "xhtml"),
    (b'<?xml version="1.0"?><gpx/>', "way.gpx", "application/gpx+xml", "gpx"),
    (b'<?xml version="1.0"?><gpx/>', "way.svg", "application/xml", "xml"),
    (b"<h1>Title</h1>", "x.md", "text/markdown", "md"),
    (HTML, "", UNKNOWN_TYPE, "bin"),
    # Signatures win; within a container the name says which kind it is
    (b"%PDF-1.7 ...", "innocent.txt", "application/pdf", "pdf"),
    (images.still("PNG"), "ruby.gif", "image/png", "png"),
    (images.still("PNG"), "page.html", "image/png", "png"),
    (DOCX, "resume.docx", f"{OOXML}wordprocessingml.document", "docx"),
    (DOCX, "letter.dotx", f"{OOXML}wordprocessingml.template", "dotx"),
    (DOCX, "spoof.xlsx", f"{OOXML}wordprocessingml.document", "docx"),
    (DOCX, "spoof.png", f"{OOXML}wordprocessingml.document", "docx"),
    (zipped("_rels/.rels", "customXml/1"), "x.pptx", f"{OOXML}presentationml.presentation", "pptx"),
    (zipped("virus.exe"), "spoof.docx", "application/zip", "zip"),
    (zipped(mimetype="application/vnd.oasis.opendocument.text"), "x.odt",
     "application/vnd.oasis.opendocument.text", "odt"),
    (OLE, "sponsored.doc", "application/msword", "doc"),
    (OLE, "sheet.XLS", "application/vnd.ms-excel", "xls"),
    (OLE, "picture.png", "application/x-ole-storage", "bin"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "name", "kind", "ending"), FILES, ids=lambda value: str(value)[:20]
)
def test_content_and_name_say_what_a_file_is(head: bytes, name: str, kind: str, ending: str):
    assert detect(head, name) == kind
    assert extension(kind, name) == ending


@pytest.mark.parametrize("text", [b"<!doctype " + b"[]" * 4000, b"<!--" * 2000, b"<?" * 4000])
def test_texts_that_open_much_and_close_nothing_are_texts(text: bytes):
    # With backtracking this would never end
    assert detect(text, "x.svg") == "text/plain"


def test_documents_keep_type_and_extension(application: Application, tmp_path: Path):
    class AnyFile(Uploader):
        allow_types = {"text/*", "application/*", "image/svg+xml"}

    document = model(application, AnyFile)
    names = {"addresses.csv", "bork.txt", "bork.json", "ruby.svg", "page.htm", "resume.docx"}
    for source, name, kind, ending in FILES:
        if name not in names:
            continue
        (tmp_path / name).write_bytes(source)
        kept = saved(document, tmp_path / name)
        assert (kept.stored.content_type, kept.stored.key.rpartition(".")[2]) == (kind, ending)
        assert content(application, kept) == source
        assert kept.stored.filename == name


def refused(rules: type[Uploader], source: bytes, name: str) -> str:
    with pytest.raises(UploadError) as error:
        cache_upload(rules, source, name)
    assert isinstance(error.value, (TypeNotAllowed, ExtensionNotAllowed))
    return str(error.value)


def rules(**attributes: object) -> type[Uploader]:
    return type("Rules", (Uploader,), attributes)


def test_types_by_wildcard_and_pattern(cache: MemoryStorage):
    png, gif = images.still("PNG"), images.gif()
    for allowed in (
        "image/*",
        {"image/*", "application/pdf"},
        ["application/pdf", re.compile("image/")],
        re.compile(r"image/(png|gif)"),
        ["IMAGE/PNG", "image/gif"],
    ):
        cache_upload(rules(allow_types=allowed), png, "ruby.gif")
        cache_upload(rules(allow_types=allowed), gif, "")
        message = refused(rules(allow_types=allowed), CSV, "a.csv")
        assert message.startswith("The file must be one of these types: ")
    # A single type is no set of letters
    assert refused(rules(allow_types="image/png"), gif, "") == (
        "The file must be one of these types: PNG."
    )
    assert refused(rules(allow_types=["text/csv", "video/*", re.compile("image/x")]), gif, "") == (
        "The file must be one of these types: CSV, image/x, video/*."
    )
    # People read the names that formats give themselves
    films = ["video/x-m4v", "video/mp4", "video/webm", "image/webp", "video/quicktime"]
    assert refused(rules(allow_types=films), gif, "") == (
        "The file must be one of these types: MOV, MP4, WebM, WebP."
    )
    # A type that goes on differently is another one
    assert refused(rules(allow_types="image/pn"), png, "")


def test_denied_types(cache: MemoryStorage):
    for denied in ("image/png", {"image/*"}, [re.compile("image/")], re.compile("image/p")):
        message = refused(rules(allow_types=None, deny_types=denied), images.still("PNG"), "a.gif")
        assert message == "Files of type PNG are not accepted."
        cache_upload(rules(allow_types=None, deny_types=denied), CSV, "a.csv")
    # A wildcard also stands for SVG
    assert refused(rules(allow_types=None, deny_types="image/*"), SVG, "a.txt")
    assert cache_upload(rules(allow_types="image/*"), SVG, "a.svg").info.content_type == (
        "image/svg+xml"
    )
    # A page cannot pass as a text
    assert refused(rules(allow_types="text/plain"), HTML, "notes.txt")


def test_extensions_in_any_case_and_by_pattern(cache: MemoryStorage):
    gif = images.gif()
    for allowed in (["jpg", "GIF"], "gif", ".gif", re.compile("gi?f"), [re.compile("GIF"), "png"]):
        cache_upload(rules(extensions=allowed), gif, "a.gif")
        cache_upload(rules(extensions=allowed), gif, "a.GIF")
        for name in ("a.giff", "a.ggif", "a.txt", "a", ""):
            assert refused(rules(extensions=allowed), gif, name)
    assert refused(rules(extensions=["jpg", re.compile("jpe?g")]), gif, "a.gif") == (
        "The file's name must end in one of: .jpe?g, .jpg."
    )


def test_denied_extensions(cache: MemoryStorage):
    gif = images.gif()
    for denied in (["jpg", "GIF"], "gif", re.compile("gi?f"), [re.compile("GIF"), "png"]):
        for name in ("a.gif", "a.GIF"):
            assert refused(rules(deny_extensions=denied), gif, name) == (
                "Files whose name ends in .gif are not accepted."
            )
        for name in ("a.giff", "a.ggif", "a.txt", "a", ""):
            cache_upload(rules(deny_extensions=denied), gif, name)
    assert refused(rules(extensions="gif", deny_extensions="gif"), gif, "a.gif")


def test_a_data_uri_says_what_kind_of_text_it_is(cache: MemoryStorage):
    for uri, kind, name in (
        ("data:text/csv;charset=utf-8,a%2Cb", "text/csv", "upload.csv"),
        ("data:,hello", "text/plain", "upload.txt"),  # RFC 2397: the type that it has without one
        ("data:image/svg+xml;base64,PHN2Zy8+", "image/svg+xml", "upload.svg"),
        ("data:text/plain,%3Csvg/%3E", "image/svg+xml", "upload.txt"),
        ("data:image/png,hello", UNKNOWN_TYPE, "upload"),
    ):
        cached = cache_upload(rules(allow_types=None), uri)
        assert (cached.info.content_type, cached.filename) == (kind, name)


def test_open_ranges(cache: MemoryStorage):
    gif = images.gif((120, 90))
    for least, most, fits in (
        (None, None, True), (120, None, True), (None, 120, True), (120, 120, True),
        (121, None, False), (None, 119, False),
    ):  # fmt: skip
        for side, delta in (("width_range", 0), ("height_range", -30)):
            both = tuple(None if end is None else end + delta for end in (least, most))
            if fits:
                cache_upload(rules(**{side: both}), gif, "")
                continue
            with pytest.raises(UploadError) as error:
                cache_upload(rules(**{side: both}), gif, "")
            assert error.value.code == "dimensions_not_allowed"
    small = rules(max_bytes=10)
    assert cache_upload(type("Open", (small,), {"max_bytes": None, "min_bytes": None}), gif, "")
    with pytest.raises(UploadError, match=r"too large. The limit is 10 bytes"):
        cache_upload(small, gif, "")
    with pytest.raises(UploadError, match=r"too small. The least is 2 MiB"):
        cache_upload(rules(min_bytes=2 * 2**20, max_bytes=None), gif, "")
    with pytest.raises(UploadError, match=r"too small. The least is 28.6 MiB"):
        cache_upload(rules(min_bytes=30_000_000, max_bytes=None), gif, "")


def test_only_types_without_scripts_are_shown_within_a_site():
    shown = "image/png image/gif video/mp4 audio/mpeg text/plain application/pdf"
    attached = "text/html image/svg+xml application/xml text/javascript text/csv application/json"
    assert all(map(is_inline, shown.split()))
    assert not any(map(is_inline, [*attached.split(), UNKNOWN_TYPE]))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[plain_s3.PlainS3]:
    with plain_s3.running(tmp_path) as running:
        yield running


def test_s3_stores_pages_as_attachments(server: plain_s3.PlainS3, tmp_path: Path):
    storage = server.storage()
    for name, kind, wanted in (
        ("a.svg", "image/svg+xml", "attachment"),
        ("b.svg", "Image/SVG+xml; charset=utf-8", "attachment"),
        ("a.html", "text/html", "attachment"),
        ("a.gif", "image/gif", None),
    ):
        source = tmp_path / "source"
        source.write_bytes(b"content")
        server.headers.clear()
        storage.upload(source, name, kind)
        assert [headers.get("content-disposition") for headers in server.headers] == [wanted]
        # So do signed URLs, and the uploads of clients
        assert ("response-content-disposition=attachment" in storage.url(name, 60)) == bool(wanted)
        request = storage.presign(f"up/{name}", 7, kind, 60)
        assert request.headers.get("Content-Disposition") == wanted


def test_a_real_s3_server_serves_them_as_attachments(s3_server: S3Server, tmp_path: Path):
    storage = s3_server.storage()
    request = storage.presign("up/page.html", len(HTML), "text/html", 60)
    sent = httpx.request(request.method, request.url, headers=request.headers, content=HTML)
    assert sent.status_code == 200
    (tmp_path / "page").write_bytes(HTML)
    storage.upload(tmp_path / "page", "page.html", "text/html")
    answer = httpx.get(storage.url("page.html"))
    assert answer.content == HTML
    assert answer.headers["content-disposition"] == "attachment"


def test_a_copy_in_another_storage_keeps_the_type(tmp_path: Path):
    here, there = MemoryStorage(), MemoryStorage()
    (tmp_path / "source").write_bytes(CSV)
    here.upload(tmp_path / "source", "a/b.csv", "text/csv")
    copy_one(here, there, "a/b.csv")
    assert there.content_types == {"a/b.csv": "text/csv"}
