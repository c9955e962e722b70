"""The endpoint that serves the files of a storage: to whom, and as what."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import (
    LocalStorage,
    MirrorStorage,
    StorageUnavailable,
    configure,
    endpoints,
)
from gifster.uploads.testing import MemoryStorage, keep
from tests import images
from tests.uploads.calling import Caller
from tests.uploads.framework import Application, Company

GIF = images.gif()
KEY = "company/logo/1/5b/original.gif"


@pytest.fixture
def store(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "store", "/files", secret="a secret")
    configure({"store": storage})
    keep(storage, KEY, GIF)
    return storage


@pytest.fixture(params=["alone", "in a mirror"])
def either(store: LocalStorage, request: pytest.FixtureRequest) -> LocalStorage:
    """The store, also as the first of a mirror."""
    if request.param == "in a mirror":
        configure({"store": MirrorStorage(store, MemoryStorage())})
    return store


def test_a_stored_file_is_served_from_each_kind_of_storage(application: Application, kind: str):
    company = Company(logo=GIF)
    company.save()
    url = Company.get_by_id(company.id).logo.url()
    call = Caller(endpoints.files(), kind, "/files")

    answer = call("GET", url.removeprefix("/files"))

    assert (answer.status_code, answer.content) == (200, GIF)
    assert answer.headers["content-type"] == "image/gif"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    known = {"If-None-Match": answer.headers["etag"]}
    again = call("GET", url.removeprefix("/files"), headers=known)
    assert (again.status_code, again.content) == (304, b"")
    part = call("GET", url.removeprefix("/files"), headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, GIF[1:4])


def test_a_deleted_file_is_gone_also_for_those_who_know_it(
    application: Application, kind: str, monkeypatch: pytest.MonkeyPatch
):
    # Given a browser that has to ask each time whether it may show what it has
    call = Caller(endpoints.files(allow=lambda _: True), kind, "/files")
    keep(application.store, KEY, GIF)
    answer = call("GET", f"/{KEY}")
    assert answer.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": answer.headers["etag"]}

    # While the storage is away, it may
    def away(key: str) -> bool:
        raise StorageUnavailable("it is down")

    with monkeypatch.context() as patch:
        patch.setattr(application.store, "exists", away)
        assert call("GET", f"/{KEY}", headers=known).status_code == 304

    # When the file is deleted, I expect it to be gone
    application.store.delete(KEY)
    assert call("GET", f"/{KEY}", headers=known).status_code == 404
    assert call("GET", f"/{KEY}").json()["code"] == "not_found"


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "report.pdf", "script.js", "none.x"])
def test_what_can_have_scripts_is_downloaded(store: LocalStorage, kind: str, name: str):
    keep(store, f"a/{name}", b"<script>alert(1)</script>")

    answer = Caller(endpoints.files(), kind)("GET", f"/a/{name}")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    "path",
    ["", "/", "/company", "/company/logo/1/5b", "/missing.gif", f"/{KEY}/x", "/../secret",
     "/company/..%2f..%2fsecret", "/.hidden", f"//{KEY}", "/link.gif", "/fifo.gif",
     f"/{'x' * 300}.gif"],
)  # fmt: skip
def test_nothing_else_is_served(either: LocalStorage, kind: str, path: str):
    store = either
    (store.root.parent / "secret").write_text("secret")
    (store.root / ".hidden").write_text("hidden")
    (store.root / "link.gif").symlink_to(store.root.parent / "secret")
    os.mkfifo(store.root / "fifo.gif")

    answer = Caller(endpoints.files(), kind)("GET", path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_second_folder_of_a_mirror_is_not_asked_for_what_the_first_has(
    store: LocalStorage, kind: str, tmp_path: Path
):
    # Given a second folder on a disk that may hang
    asked: list[str] = []

    class Second(LocalStorage):
        def path(self, key: str) -> Path:
            asked.append(key)
            return super().path(key)

    configure({"store": MirrorStorage(store, Second(tmp_path / "second"))})

    assert Caller(endpoints.files(), kind)("GET", f"/{KEY}").status_code == 200
    assert asked == []


def test_only_signed_urls_are_served(
    either: LocalStorage, kind: str, monkeypatch: pytest.MonkeyPatch
):
    call = Caller(endpoints.files(signed=True), kind)
    path = either.url(KEY, 60).removeprefix("/files")

    answer = call("GET", path)
    assert (answer.status_code, answer.content) == (200, GIF)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert call("GET", f"/{KEY}").json()["code"] == "not_allowed"
    assert call("GET", path.replace("original", "other")).status_code == 403
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert call("GET", path).status_code == 403


def test_an_application_decides_who_sees_a_file(store: LocalStorage, kind: str):
    def owner(about: dict[str, Any]) -> bool:
        headers = dict(about.get("headers", []))
        said = about.get("HTTP_X_USER") or headers.get(b"x-user", b"").decode()
        path = about.get("PATH_INFO") or about.get("path", "")
        return said == "ann" and path.endswith(KEY)

    call = Caller(endpoints.files(allow=owner), kind)

    assert call("GET", f"/{KEY}").status_code == 403
    answer = call("GET", f"/{KEY}", headers={"X-User": "ann"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-cache")
    call = Caller(endpoints.files(allow=lambda _: "ann"), kind)  # not True
    assert call("GET", f"/{KEY}").status_code == 403
    with pytest.raises(TypeError, match="give a function"):
        endpoints.files(allow=True)


def test_files_in_memory_are_served_too(kind: str):
    storage = MemoryStorage()
    configure({"attachments": storage})
    keep(storage, "a.gif", GIF)

    assert Caller(endpoints.files("attachments"), kind)("GET", "/a.gif").content == GIF
