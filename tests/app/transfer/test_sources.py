"""What an import reads: sidecars, zips, lists of URLs."""

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gifster.app.errors import LibraryError
from gifster.app.models import Gif, ImageUploader
from gifster.app.transfer.importing import What, add_all
from gifster.app.transfer.sources import find
from gifster.uploads.sweep import sweep
from tests import images
from tests.app.transfer.conftest import counts, imported, library_as_told
from tests.machine import files_below


def test_sidecars(folder: Path):
    (folder / "a cat.gif.json").write_text(
        json.dumps({"title": "Cat, asleep", "tags": "cats, sleep", "alt_text": "A cat.", "n": 1})
    )
    (folder / "Reactions" / "no.json").write_text(
        json.dumps({"tags": ["refusal"], "rating": "pg", "visibility": "unlisted"})
    )

    assert counts(imported(folder)) == {"added": 3}

    assert library_as_told() == {
        "Cat, asleep": ["cats", "sleep"],
        "no": ["refusal"],
        "nod": ["reactions", "yes"],
    }
    no = Gif.get(Gif.title == "no")
    assert (no.rating, no.visibility) == ("pg", "unlisted")
    assert Gif.get(Gif.title.startswith("Cat")).alt_text == "A cat."


@pytest.mark.parametrize(
    ("sidecar", "reason"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "is no JSON object"),
        ('{"title": 3}', "title must be a text"),
        ('{"tags": [1]}', "tags must be a list of texts"),
        ('{"edit": {"start": -1}}', "start"),
        ('{"rating": "x"}', "rating"),
        ('{"visibility": "private"}', "needs an owner"),
        ('{"title": "' + "x" * 201 + '"}', "at most 200 characters"),
        ('{"title": "a\\u0000b"}', "control characters"),
        (" " * 2_000_000, "more than 1,048,576 bytes"),
    ],
)
def test_a_wrong_sidecar_refuses_its_picture_alone(folder: Path, sidecar: str, reason: str):
    (folder / "a cat.gif.json").write_text(sidecar)

    outcomes = imported(folder)

    assert counts(outcomes) == {"added": 2, "refused": 1}
    [refused] = [each for each in outcomes if each.what is What.REFUSED]
    assert refused.name == str(folder / "a cat.gif")
    assert reason in refused.reason
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_a_zip(folder: Path, tmp_path: Path):
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in files_below(folder):
            target.write(folder / name, name)
        target.writestr("../../up.gif", images.gif(durations=[40] * 5))
        target.writestr("Reactions/no.png.json", '{"title": "No!"}')

    assert counts(imported(archive)) == {"added": 3}

    # I expect its pictures, without the one whose name leads elsewhere
    assert library_as_told() == {
        "No!": ["reactions"],
        "a cat": [],
        "nod": ["reactions", "yes"],
    }
    assert counts(imported(archive)) == {"known": 3}


def test_a_bomb_in_a_zip_is_read_no_further_than_an_upload(tmp_path: Path):
    archive = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target,
        target.open("a.gif", "w") as entry,
    ):
        entry.write(images.gif())
        for _ in range(ImageUploader.max_bytes // 2**20 + 1):
            entry.write(bytes(2**20))

    [outcome] = imported(archive)

    assert outcome.what is What.REFUSED


def test_a_damaged_zip(tmp_path: Path):
    archive = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a.gif", images.gif())
        target.writestr("b.gif", images.gif(durations=[40] * 3))
    content = bytearray(archive.read_bytes())
    content[60] ^= 255  # in the first entry
    archive.write_bytes(content)

    outcomes = imported(archive)

    assert counts(outcomes) == {"added": 1, "refused": 1}
    archive.write_bytes(content[:-30])
    with pytest.raises(LibraryError, match=r"damaged\.zip is no zip"):
        list(find(archive))


def test_a_list_of_urls(tmp_path: Path):
    urls = tmp_path / "urls.txt"
    urls.write_text("\ufeff# mine\n\nhttp://127.0.0.1/cat.gif\nnonsense\n")

    outcomes = imported(urls)

    # I expect the rules of uploads by URL: no private addresses, no other schemes
    assert [each.name for each in outcomes] == ["http://127.0.0.1/cat.gif", "nonsense"]
    assert counts(outcomes) == {"refused": 2}


@pytest.mark.parametrize("name", ["nothing.gif", "nothing", "nothing.zip", "nothing.txt"])
def test_a_path_that_is_not_there(tmp_path: Path, name: str):
    with pytest.raises(LibraryError, match="No such file"):
        list(add_all(find(tmp_path / name)))


def test_a_folder_that_cannot_be_listed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a folder of another user's
    scandir = os.scandir

    def refused(path: Any = ".") -> Any:
        if str(path).endswith("Yes"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)

    outcomes = imported(folder)

    # I expect to be told, and what is around it to be there
    assert counts(outcomes) == {"added": 2, "refused": 1}
    [refused] = [each for each in outcomes if each.what is What.REFUSED]
    assert refused.name == f"{folder}/Reactions/Yes/"
    assert "Permission denied" in refused.reason
