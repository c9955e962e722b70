"""What somebody may have in all, when much happens at once. `test_limits.py` has the rest."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gifster import accounts, library
from gifster.database import db
from gifster.jobs import transaction
from gifster.models import Gif, ImageUploader, User
from gifster.settings import Settings
from gifster.uploads import CachedFile
from gifster.uploads.cache import CacheWriter
from gifster.uploads.rows import locked_row
from tests import images
from tests.stack import eventually

GIF = images.gif()
LARGE = images.gif(size=(300, 200))


def cached(content: bytes = GIF) -> CachedFile:
    writer = CacheWriter(ImageUploader, "a.gif")
    writer.write(content)
    return writer.finish()


def tried(work: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Whether a thread of a request's was let do something."""
    with db.connection_context():
        try:
            work(*arguments, **options)
        except library.Denied:
            return False
        return True


def someone(who: str) -> User | None:
    return accounts.sign_up("ann@example.org", "correct horse") if who == "ann" else None


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_uploads_at_once_cannot_share_the_last_place(booted: Settings, who: str):
    user, quota = someone(who), library.Quota(gifs=3, bytes=10**9)
    files = [cached() for _ in range(12)]
    ready = threading.Barrier(12)

    def add(file: CachedFile) -> bool:
        ready.wait()
        return tried(library.add_gif, file, user=user, quota=quota)

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(add, files)) == 3
    assert Gif.select().count() == 3


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_a_replacement_is_measured_by_what_is_there_when_its_turn_comes(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, who: str
):
    # Given a large GIF that fills the quota
    user, quota = someone(who), library.Quota(gifs=9, bytes=len(LARGE))
    gif = library.add_gif(cached(LARGE), user=user, quota=quota)
    files = [cached(), cached(LARGE[:-1] + b";"), cached()]
    has_looked, look = threading.Event(), library.gif_to_change

    def looking(*arguments: Any) -> Gif:
        found = look(*arguments)
        has_looked.set()
        return found

    with ThreadPoolExecutor(1) as threads:
        # When somebody replaces it by a large one, and is overtaken by a small one and an upload
        with transaction(db):
            if user is not None:
                locked_row(user)
            library.replace_image(gif.id, user, files[0], quota)
            monkeypatch.setattr(library, "gif_to_change", looking)
            second = threads.submit(tried, library.replace_image, gif.id, user, files[1], quota)
            assert eventually(has_looked.is_set)
            library.add_gif(files[2], user=user, quota=quota)
        assert second.result() is False

    assert sum(gif.bytes for gif in Gif.select()) == 2 * len(GIF)


def test_a_replacement_counts_for_the_owner(booted: Settings, monkeypatch: pytest.MonkeyPatch):
    ann, admin = someone("ann"), accounts.sign_up("admin@example.org", "correct horse")
    gif = library.add_gif(cached(), user=ann)
    files = [cached(), cached(LARGE)]
    # Whoever may change others' GIFs
    monkeypatch.setattr(library, "gif_to_change", lambda gif_id, user: library.get_gif(gif_id))
    library.add_gif(cached(LARGE), user=admin)

    quota = library.Quota(gifs=9, bytes=len(LARGE) + len(GIF))
    assert tried(library.replace_image, gif.id, admin, files[1], quota)
    quota = library.Quota(gifs=9, bytes=len(LARGE) - 1)
    assert tried(library.replace_image, gif.id, admin, files[0], quota)
    assert not tried(library.replace_image, gif.id, admin, cached(LARGE), quota)
