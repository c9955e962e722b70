"""`/media` from any storage: the same answers as from a folder, as far as the storage allows."""

import asyncio
import io
from pathlib import Path
from typing import Any, BinaryIO

import falcon.asgi
import httpx
import pytest
from falcon import testing

from gifster.api.app import create_app
from gifster.api.files import PIECE_BYTES, WHOLE_BYTES, Files
from gifster.app import boot
from gifster.app.settings import Settings
from gifster.uploads import (
    FsspecStorage,
    LocalStorage,
    MirrorStorage,
    StorageUnavailable,
    configure,
)
from gifster.uploads.testing import MemoryStorage, keep

SMALL = bytes(range(256)) * 40
LARGE = bytes(range(256)) * 4 * (WHOLE_BYTES // 256)


class Streamed(MemoryStorage):
    """A storage whose files can only be read from their beginning, as S3's."""

    def open(self, key: str) -> BinaryIO:
        return Unseekable(super().open(key).read())


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *arguments: Any) -> int:
        raise io.UnsupportedOperation


class Broken(MemoryStorage):
    def open(self, key: str) -> BinaryIO:
        raise StorageUnavailable("it is down")


async def read(function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


def serving(source: Any) -> testing.TestClient:
    app = falcon.asgi.App()
    app.add_sink(Files("/media/", source, read, types=("image/gif",)), "/media/")
    return testing.TestClient(app)


KINDS = ["folder", "memory", "fsspec", "mirror"]


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> testing.TestClient:
    """`/media` from a folder, and from storages."""
    storage = {
        "folder": lambda: LocalStorage(tmp_path / "store"),
        "memory": MemoryStorage,
        "fsspec": lambda: FsspecStorage(f"file://{tmp_path}/store"),
        "mirror": lambda: MirrorStorage(MemoryStorage(), MemoryStorage()),
    }[request.param]()
    keep(storage, "a/small.gif", SMALL)
    keep(storage, "a/large.gif", LARGE)
    keep(storage, "a/page.svg", b"<svg/>")
    keep(storage, "a/empty.gif", b"")
    return serving(tmp_path / "store" if request.param == "folder" else storage)


def test_a_file_is_served_whole(client: testing.TestClient):
    for name, content in (("small", SMALL), ("large", LARGE), ("empty", b"")):
        answer = client.simulate_get(f"/media/a/{name}.gif")
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["accept-ranges"] == "bytes"
    head = client.simulate_head("/media/a/large.gif")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(LARGE)))
    assert client.simulate_get("/media/a/page.svg").headers["content-type"] == (
        "application/octet-stream"
    )


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("0-99", 0, 100), ("100-", 100, None), ("-10", -10, None),
     (f"{PIECE_BYTES - 1}-{2 * PIECE_BYTES}", PIECE_BYTES - 1, 2 * PIECE_BYTES + 1)],
)  # fmt: skip
def test_a_part_of_a_file_is_served(
    client: testing.TestClient, asked: str, first: int, end: int | None
):
    answer = client.simulate_get("/media/a/large.gif", headers={"Range": f"bytes={asked}"})

    assert answer.status_code == 206
    assert answer.content == LARGE[first:end]
    assert answer.headers["content-range"].endswith(f"/{len(LARGE)}")


def test_a_part_that_is_not_there_is_refused(client: testing.TestClient):
    answer = client.simulate_get("/media/a/small.gif", headers={"Range": "bytes=99999-"})

    assert answer.status_code == 416


def test_a_client_that_has_the_file_does_not_get_it_again(client: testing.TestClient):
    tag = client.simulate_get("/media/a/small.gif").headers["etag"]

    again = client.simulate_get("/media/a/small.gif", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    part = {"Range": "bytes=0-9", "If-Range": tag}
    assert client.simulate_get("/media/a/small.gif", headers=part).status_code == 206
    part["If-Range"] = '"another"'
    assert client.simulate_get("/media/a/small.gif", headers=part).status_code == 200
    other = client.simulate_get("/media/a/large.gif").headers["etag"]
    assert other != tag


@pytest.mark.parametrize("path", ["a/none.gif", "a", "a/", "../secret", ".hidden", "a/.tmp"])
def test_what_is_no_file_is_not_found(client: testing.TestClient, path: str):
    assert client.simulate_get(f"/media/{path}").status_code == 404


def test_dates_mean_nothing_where_nobody_knows_them():
    storage = MemoryStorage()
    keep(storage, "a.gif", SMALL)
    client = serving(storage)
    date = "Thu, 01 Jan 1970 00:00:01 GMT"

    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        answer = client.simulate_get("/media/a.gif", headers={name: date})
        assert (answer.status_code, answer.content) == (200, SMALL)
        assert "last-modified" not in answer.headers
    part = {"Range": "bytes=0-9", "If-Range": "no date"}
    assert client.simulate_get("/media/a.gif", headers=part).status_code == 200


def test_a_storage_that_cannot_seek_serves_whole_files_only():
    storage = Streamed()
    keep(storage, "a.gif", LARGE)

    answer = serving(storage).simulate_get("/media/a.gif", headers={"Range": "bytes=5-9"})

    assert (answer.status_code, answer.content) == (200, LARGE)
    assert answer.headers["accept-ranges"] == "none"
    assert "content-length" not in answer.headers


def test_a_file_whose_size_is_known_tells_it_where_the_storage_does_not():
    storage, app = Streamed(), falcon.asgi.App()
    files = Files("/media/", storage, read, types=("image/gif",))

    class Known:
        async def on_get(self, req: Any, resp: Any, name: str) -> None:
            await files.answer(req, resp, name, len(LARGE) if name == "large.gif" else len(SMALL))

        on_head = on_get

    app.add_route("/known/{name}", Known())
    client = testing.TestClient(app)
    for name, content in (("large.gif", LARGE), ("small.gif", SMALL)):
        keep(storage, name, content)
        for method in ("GET", "HEAD"):
            answer = client.simulate_request(
                method, f"/known/{name}", headers={"Range": "bytes=5-9"}
            )
            assert answer.headers["content-length"] == str(len(content)), (method, name)
            assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
            assert answer.content == (content if method == "GET" else b"")


def test_gifster_serves_a_store_of_fsspec(booted: Settings, tmp_path: Path):
    of_fsspec = {"kind": "fsspec", "url": f"file://{tmp_path}/elsewhere"}
    settings = booted.model_copy(update={"store": booted.store.model_copy(update=of_fsspec)})
    store = boot.storage(settings.store, boot.MEDIA)
    configure({"store": store, "cache": boot.storage(settings.cache)})
    keep(store, "gifs/a.gif", SMALL)
    app = httpx.ASGITransport(create_app(settings))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
            return await client.get(store.url("gifs/a.gif"), headers={"Range": "bytes=0-9"})

    answer = asyncio.run(get())

    assert (answer.status_code, answer.content) == (206, SMALL[:10])
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (tmp_path / "elsewhere/gifs/a.gif").exists()


def test_an_unavailable_storage_is_not_a_missing_file():
    assert serving(Broken()).simulate_get("/media/a.gif").status_code >= 500
