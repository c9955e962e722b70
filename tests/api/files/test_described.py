"""Stored files as JSON (`gifster.api.described`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from gifster.api.described import described
from gifster.uploads import LocalStorage
from gifster.uploads.config import config
from gifster.uploads.files.stored import StoredFile

FACTS = {"storage": "store", "content_type": "image/gif", "bytes": 9, "width": 3, "height": 2}
TEXT = json.dumps({
    **FACTS, "key": "gifs/a/cat.gif", "filename": "cat.gif", "sha256": "0" * 64, "frames": 1,
    "duration_ms": 0, "loop": None,
    "versions": {name: FACTS | {"key": f"gifs/a/{name}.gif"} for name in ("thumb", "preview")},
})  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStorage:
    found = LocalStorage(tmp_path, "/media")
    monkeypatch.setitem(config.storages, "store", found)
    return found


def urls(origin: str = "", only: frozenset[str] | None = None) -> dict[str, str]:
    """The URLs of a file that a list has just loaded."""
    told = described(StoredFile.loads(TEXT), origin, only, for_everybody=True)
    versions: dict[str, Any] = told.versions
    return {"": told.image["url"]} | {name: each["url"] for name, each in versions.items()}


def test_each_choice_and_origin_has_its_own_urls(store: LocalStorage):
    for _ in range(2):
        assert urls() == {
            "": "/media/gifs/a/cat.gif",
            "thumb": "/media/gifs/a/thumb.gif",
            "preview": "/media/gifs/a/preview.gif",
        }
        assert urls("https://a.example")["thumb"] == "https://a.example/media/gifs/a/thumb.gif"
        assert urls(only=frozenset({"thumb"})).keys() == {"", "thumb"}


def test_urls_follow_the_storage(store: LocalStorage, monkeypatch: pytest.MonkeyPatch):
    assert urls()[""] == "/media/gifs/a/cat.gif"

    # When the storage gets another address
    other = LocalStorage(store.root, "https://cdn.example")
    monkeypatch.setitem(config.storages, "store", other)

    assert urls()[""] == "https://cdn.example/gifs/a/cat.gif"


def test_urls_that_end_are_made_each_time(store: LocalStorage, monkeypatch: pytest.MonkeyPatch):
    # Given a storage that counts the URLs that it has signed
    class Signing:
        signed = 0

        def url(self, key: str, expires_s: int | None = None) -> str:
            self.signed += 1
            return f"https://bucket.example/{key}?signature={self.signed}"

    monkeypatch.setitem(config.storages, "store", Signing())

    assert urls()[""].endswith("?signature=1")
    assert urls()[""].endswith("?signature=4")
