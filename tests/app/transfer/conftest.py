"""What the tests of imports and exports share."""

from collections import Counter
from pathlib import Path

import dramatiq
import pytest

from gifster.app import lists
from gifster.app.models import Gif
from gifster.app.settings import Settings
from gifster.app.transfer.importing import Outcome, add_all
from gifster.app.transfer.sources import find
from gifster.uploads import actors
from tests import images


@pytest.fixture(autouse=True)
def _library(booted: Settings) -> None:
    """Each on both databases."""
    for actor in (actors.store_asset, actors.remove_files, actors.recreate_versions):
        dramatiq.get_broker().declare_actor(actor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in folders, a text and a hidden file."""
    folder = tmp_path / "Old pictures"
    for name, content in {
        "a cat.gif": images.gif(durations=[40] * 2),
        "Reactions/Yes/nod.GIF": images.gif(durations=[40] * 3),
        "Reactions/no.png": images.still("PNG"),
        "Reactions/notes.doc": b"words",
        ".thumbnails/x.gif": images.gif(durations=[40] * 9),
        "Reactions/._no.png": b"of a Mac",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def imported(*paths: Path, **options: object) -> list[Outcome]:
    found = [each for path in paths for each in find(path)]
    return list(add_all(found, **options))  # type: ignore[arg-type]


def counts(outcomes: list[Outcome]) -> dict[str, int]:
    return {what.value: count for what, count in Counter(each.what for each in outcomes).items()}


def library_as_told() -> dict[str, list[str]]:
    """Titles, with their tags."""
    gifs = list(Gif.select())
    tags = lists.tags_of(gifs)
    return {gif.title: tags[gif.id] for gif in gifs}
