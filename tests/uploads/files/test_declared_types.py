"""What a client says about a file before it sends it."""

import re

import pytest

from gifster.uploads import Uploader, errors


class ImageUploader(Uploader):
    min_bytes, max_bytes = 10, 1000
    deny_extensions = {"bmp"}


class TableUploader(Uploader):
    allow_types = {"text/csv", "application/rtf", re.compile(r"application/vnd\.openxml")}


class FilmUploader(Uploader):
    allow_types = {"video/mp4", "audio/x-wav"}


class AnyUploader(Uploader):
    allow_types = None
    deny_types = {"text/html"}


def refused(uploader: type[Uploader], name: str, content_type: str, size: int = 100) -> str:
    """The code with which such a file is refused; empty if it may be accepted."""
    try:
        uploader.check_declared(name, size, content_type)
    except errors.UploadError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("me.gif", "image/gif"),
        ("me.gif", "IMAGE/GIF; charset=binary"),
        ("me.exe", "image/gif"),  # the content decides, not the name
        ("me.pdf", ""),  # nothing was declared
        ("me.pdf", "application/octet-stream"),
        ("me.jpg", "image/jpg"),  # an alias, or a type that we do not know
        ("me.png", "image/x-png"),
    ],
)
def test_what_may_be_an_image_passes(name: str, content_type: str):
    assert refused(ImageUploader, name, content_type) == ""


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("me.pdf", "application/pdf"),
        ("me.gif", "application/pdf"),
        ("me.gif", "text/html;charset=utf-8"),
        ("me.svg", "image/svg+xml"),
        ("me.psd", "image/vnd.adobe.photoshop"),
        ("me.exe", "application/x-msdownload"),
        ("me.sh", "application/x-sh"),
        ("me.mp4", "video/mp4"),
        ("me.doc", "application/msword"),
        ("me", "font/woff2"),
        ("me", "nonsense"),
    ],
)
def test_what_is_no_image_is_refused(name: str, content_type: str):
    assert refused(ImageUploader, name, content_type) == "type_not_allowed"


@pytest.mark.parametrize(
    ("uploader", "name", "content_type", "code"),
    [
        # Windows says so of tables and texts; the name decides, as it does later.
        (TableUploader, "a.csv", "application/vnd.ms-excel", ""),
        (TableUploader, "a.csv", "text/plain", ""),
        (TableUploader, "a.rtf", "application/msword", ""),
        (TableUploader, "a.docx", "application/x-zip-compressed", ""),
        (TableUploader, "a.txt", "text/plain", "type_not_allowed"),
        (TableUploader, "a.zip", "application/zip", "type_not_allowed"),
        (TableUploader, "a.gif", "image/gif", "type_not_allowed"),
        # A container of films has many names.
        (FilmUploader, "a.m4v", "video/x-m4v", ""),
        (FilmUploader, "a.wav", "audio/wav", ""),
        (FilmUploader, "a.gif", "image/gif", "type_not_allowed"),
        (AnyUploader, "a.bin", "application/x-anything", ""),
        (AnyUploader, "a.html", "text/html", "type_not_allowed"),
        (AnyUploader, "a.html", "text/plain", ""),
    ],
)
def test_the_type_is_taken_as_browsers_mean_it(
    uploader: type[Uploader], name: str, content_type: str, code: str
):
    assert refused(uploader, name, content_type) == code


@pytest.mark.parametrize(
    ("size", "code"),
    [(0, "empty_file"), (9, "too_small"), (10, ""), (1000, ""), (1001, "too_large")],
)
def test_the_size_is_checked(size: int, code: str):
    assert refused(ImageUploader, "me.gif", "image/gif", size) == code


def test_the_name_is_checked():
    assert refused(ImageUploader, "me.bmp", "image/gif") == "extension_not_allowed"


def test_the_error_says_what_is_taken():
    with pytest.raises(
        errors.TypeNotAllowed, match="one of these types: AVIF, BMP, GIF, HEIC, JPEG, PNG"
    ):
        ImageUploader.check_declared("a.pdf", 100, "application/pdf")
    with pytest.raises(errors.TypeNotAllowed, match="of type HTML are not accepted"):
        AnyUploader.check_declared("a.html", 100, "text/html; charset=utf-8")
