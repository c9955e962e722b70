"""`make pictures`: what it says of good, damaged and unusual pictures."""

import json
from pathlib import Path

import PIL.Image
import pytest

from bench import picture_checks, pictures
from bench.picture_browser import Shown
from tests import images
from tests.combinations import only_in_ci

# The sandbox, and Chromium where it is installed.
pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture, an animation, a GIF that is cut off, and a text."""
    made = tmp_path / "pictures"
    (made / "below").mkdir(parents=True)
    (made / "still.png").write_bytes(images.still("PNG", (40, 30)))
    (made / "below" / "moves").write_bytes(images.gif((40, 30), [40, 70, 90], loop=0))
    (made / "cut.gif").write_bytes(images.gif((40, 30))[:-100])
    (made / "text.md").write_text("no picture", "utf-8")
    return made


@only_in_ci("a tool that changes seldom")
def test_a_folder_is_tried_and_what_differs_is_listed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    report = tmp_path / "report.json"

    status = pictures.main([str(folder), "--report", str(report)])

    # I expect no hard fault, and each picture with what became of it
    assert status == 0
    found = {Path(item["source"]).name: item for item in json.loads(report.read_text("utf-8"))}
    assert {name: (item["kind"], item["state"]) for name, item in found.items()} == {
        "still.png": ("PNG", "taken"),
        "moves": ("GIF moving", "taken"),
        "cut.gif": (found["cut.gif"]["kind"], "refused"),
    }
    assert found["cut.gif"]["code"] == "truncated"
    # … which Chromium, where it is installed, shows alike
    assert not any(item["differs"] for item in found.values())
    assert "3 pictures" in capsys.readouterr().out


def test_an_error_that_is_no_answer_is_a_hard_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(picture_checks, "probe", broken)

    assert pictures.main([str(folder), "--only", "still"]) == 1
    assert "FAULT internal: ZeroDivisionError()" in capsys.readouterr().out


def test_what_a_browser_shows_differently_is_named(folder: Path, tmp_path: Path):
    # Given an animation that the browser shows turned, slower, once and in blue
    source = folder / "below" / "moves"
    outcome = picture_checks.render(source, tmp_path)
    blue = PIL.Image.new("RGBA", (30, 40), "blue")
    shown = Shown(30, 40, 3, [100, 100, 100], 1, blue, {1: blue, 2: blue})

    picture_checks.compare(outcome, tmp_path, shown)

    assert set(outcome.differs) == {"size", "duration", "plays", "picture", "later"}
    assert outcome.differs["plays"] == "0, not 1"
