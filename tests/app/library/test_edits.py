"""Edits of GIFs: what is refused, and what becomes of the versions."""

import json
import math
import random
from dataclasses import replace
from typing import Any

import dramatiq
import pytest

from gifster.app import edits, library
from gifster.app.edits import Crop, Edit
from gifster.app.errors import Conflict, Invalid
from gifster.app.models import Gif, ImageUploader
from gifster.app.settings import Settings
from gifster.imaging import ImageInfo
from gifster.uploads import StoredVersion
from gifster.uploads.errors import TooLong, TooManyPixels
from gifster.uploads.testing import enqueued, run_jobs
from tests import images
from tests.app.gifs import added, cached
from tests.machine import files_below
from tests.videos import video

GIF = images.gif(size=(120, 90), durations=[100] * 10)
INFO = ImageInfo("image/gif", 120, 90, 10, 1000)
STILL = ImageInfo("image/png", 120, 90)
EDIT = Edit(0.2, 0.6, None, Crop(30, 0, 60, 90))


@pytest.fixture
def library_here(booted: Settings) -> Settings:
    """An empty library, whose jobs this process can run."""
    from gifster.uploads import actors

    for actor in (actors.store_asset, actors.update_versions, actors.remove_files):
        dramatiq.get_broker().declare_actor(actor)
    return booted


def ready(content: bytes = GIF, edit: Edit | None = None) -> Gif:
    gif = added(content, edit=edit)
    run_jobs()
    return fresh(gif)


def fresh(gif: Gif) -> Any:
    return Gif.get_by_id(gif.id)


def put(gif: Gif, edit: Edit | None) -> Any:
    return library.edit_gif(gif.id, None, edit=lambda _: edit)


def versions(gif: Gif) -> dict[str, StoredVersion]:
    return dict(fresh(gif).image.stored.versions)


def looks(gif: Gif) -> dict[str, tuple[int, int]]:
    return {name: (v.width, v.height) for name, v in versions(gif).items()}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (7, "edit is 7: use an object"),
        ([], "edit is []: use an object"),
        ("0-3", "use an object with start, end, fps, crop, or null"),
        ({"begin": 1}, "no member 'begin'"),
        ({"start": "1"}, "start is '1': use a number, or null"),
        ({"start": True}, "start is true: use a number"),
        ({"start": -0.1}, "start is -0.1 s"),
        ({"end": math.nan}, "end is no number"),
        ({"end": math.inf}, "end is no number"),
        ({"end": 10**400}, "end is no number"),
        ({"start": 3, "end": 3}, "start is 3 s, and end is 3 s: this leaves no frame"),
        ({"start": 3, "end": 2.5}, "start is 3 s, and end is 2.5 s"),
        ({"start": 1.0001, "end": 1.0004}, "leaves no frame"),
        ({"end": 0}, "leaves no frame"),
        ({"fps": 0}, "fps is 0: use 1 to 60"),
        ({"fps": 60.5}, "fps is 60.5"),
        ({"fps": -1}, "fps is -1"),
        ({"crop": [1, 2, 3, 4]}, "crop is [1, 2, 3, 4]: use an object"),
        ({"crop": {"x": 0, "y": 0, "width": 5}}, "crop.height is missing: send a whole"),
        ({"crop": {"x": 0, "y": 0, "width": 5, "height": 0}}, "crop.height is 0"),
        ({"crop": {"x": -1, "y": 0, "width": 5, "height": 5}}, "crop.x is -1"),
        ({"crop": {"x": 0.5, "y": 0, "width": 5, "height": 5}}, "crop.x is 0.5: use a whole"),
        ({"crop": {"x": 10**30, "y": 0, "width": 5, "height": 5}}, "crop.x is 1000000"),
        ({"crop": {"x": 0, "y": 0, "width": 5, "height": 5, "z": 1}}, "no member 'z'"),
    ],
)
def test_what_is_no_edit_is_refused(sent: object, said: str):
    with pytest.raises(Invalid) as refused:
        edits.read(sent)

    assert refused.value.code == "edit_invalid"
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("sent", "info", "said"),
    [
        ({"end": 1.001}, INFO, "end is 1.001 s, and the picture ends at 1 s"),
        ({"start": 1}, INFO, "start is 1 s, and the picture ends at 1 s"),
        ({"start": 0.5}, STILL, "does not move"),
        ({"fps": 5}, STILL, "does not move"),
        ({"crop": {"x": 61, "y": 0, "width": 60, "height": 9}}, INFO, "picture has 120×90"),
        ({"crop": {"x": 0, "y": 90, "width": 1, "height": 1}}, INFO, "must lie within it"),
    ],
)
def test_an_edit_that_does_not_fit_the_picture_is_refused(sent: object, info: ImageInfo, said: str):
    edit = edits.read(sent)
    assert edit is not None

    with pytest.raises(Invalid, match=said) as refused:
        edit.check(info)

    assert refused.value.code == "edit_invalid"


@pytest.mark.parametrize("sent", [None, {}, {"start": None, "crop": None}])
def test_an_empty_edit_is_none(sent: object):
    assert edits.read(sent) is None


def form(**fields: str) -> Any:
    return lambda name: fields.get(name, "")


def test_a_form_has_an_edit_as_texts():
    assert edits.read_form(form(start=" 0.2 ", end="0.6", crop="30, 0,60 ,90")) == EDIT
    assert edits.read_form(form(fps="", start="")) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"start": "nan"}, {"end": "inf"}, {"start": "1e9"}, {"fps": "1_0"}, {"start": "٣"},
        {"start": "-1"}, {"fps": "0"}, {"crop": "1,2,3"}, {"crop": "0,0,5,0"}, {"crop": "a,b,c,d"},
        {"crop": "0,0,99999999999,5"}, {"start": "2", "end": "1"}, {"start": "9" * 40},
    ],
)  # fmt: skip
def test_a_form_without_sense_is_refused(fields: dict[str, str]):
    with pytest.raises(Invalid) as refused:
        edits.read_form(form(**fields))

    assert refused.value.code == "edit_invalid"


def test_a_merge_patch_changes_parts_of_an_edit():
    assert edits.read(edits.merged(EDIT, {"fps": 5})) == replace(EDIT, fps=5)
    assert edits.read(edits.merged(EDIT, {"crop": None, "end": None})) == Edit(start=0.2)
    assert edits.read(edits.merged(EDIT, {"crop": {"x": 1}})) == replace(
        EDIT, crop=Crop(1, 0, 60, 90)
    )
    assert edits.read(edits.merged(EDIT, None)) is None
    assert edits.read(edits.merged(None, {"fps": 5})) == Edit(fps=5)


def test_whatever_is_sent_is_an_edit_or_is_refused():
    choose = random.Random(20)
    values: list[Any] = [
        None, True, 0, -1, 1, 60, 61, 0.5, 1e308, -0.0, math.nan, math.inf, 2**63, 10**400, "", "1",
        "\0", [], [1], {}, {"x": 1}, {"x": 0, "y": 0, "width": 3, "height": 3},
    ]  # fmt: skip
    names = ["start", "end", "fps", "crop", "x", "", "\ud800", "crop.x"]
    for _ in range(3000):
        sent = {choose.choice(names): choose.choice(values) for _ in range(choose.randint(0, 5))}
        if choose.random() < 0.5:
            sent["crop"] = {name: choose.choice(values) for name in ("x", "y", "width", "height")}
        try:
            edit = edits.read(sent)
            if edit is not None:
                edit.check(choose.choice([INFO, STILL]))
        except Invalid:
            continue
        assert edit is None or json.loads(json.dumps(edit.as_json(), allow_nan=False))
        assert edit is None or edit.applied(images.Image()) is not None


def test_an_upload_with_an_edit(library_here: Settings):
    plain = ready()
    gif = ready(edit=EDIT)

    stored = gif.image.stored
    assert (gif.edit, gif.image_state) == (EDIT, "ready")
    assert (stored.width, stored.height, stored.duration_ms) == (120, 90, 1000)
    assert gif.image.read() == GIF
    assert looks(gif)["thumb"] == looks(gif)["preview"] == looks(gif)["full"] == (60, 90)
    assert "full" not in looks(plain)
    assert images.timing(gif.image.thumb.read())[0] == [100] * 4
    assert images.timing(gif.image.webp.read())[0] == [100] * 4
    # Those that look for copies of the original find it.
    assert stored.sha256 == plain.image.stored.sha256
    assert stored.dhash == plain.image.stored.dhash


def test_an_edit_can_be_changed_and_removed(library_here: Settings):
    gif = ready()
    whole = fresh(gif).image.stored

    changed = put(gif, EDIT)

    assert (changed.edit, changed.image_state) == (EDIT, "processing")
    assert changed.image.stored == whole
    run_jobs()
    assert fresh(gif).image_state == "ready"
    assert looks(gif)["thumb"] == (60, 90)
    assert put(gif, EDIT).image_state == "ready", "nothing has changed"
    assert enqueued() == []

    put(gif, None)
    run_jobs()
    assert fresh(gif).edit is None
    # But for WebMs, which have a random id.
    assert {n: v.sha256 for n, v in versions(gif).items() if n != "webm"} == {
        n: v.sha256 for n, v in whole.versions.items() if n != "webm"
    }
    assert sorted(files_below(library_here.store.root)) == sorted(
        key for _, key in fresh(gif).image.stored.files
    )


def test_an_upload_that_waits_gets_its_versions_by_the_last_edit(library_here: Settings):
    gif = added(GIF, edit=Edit(fps=5))

    with pytest.raises(Invalid):
        put(gif, Edit(end=1.5))
    assert put(gif, EDIT).image_state == "queued"
    assert enqueued("update_versions") == []

    run_jobs()
    assert fresh(gif).image_state == "ready"
    assert looks(gif)["thumb"] == (60, 90)


def test_a_replacement_drops_the_edit(library_here: Settings):
    gif = ready(edit=EDIT)

    replaced = library.replace_image(gif.id, None, cached(images.gif(size=(50, 40))))

    assert replaced.edit is None
    run_jobs()
    assert fresh(gif).edit is None
    assert looks(gif)["thumb"] == (50, 40)


def test_a_failed_upload_has_nothing_to_edit(library_here: Settings):
    gif = added(images.gif())
    Gif.update(image_state="failed", image_tmp=None).where(Gif.id == gif.id).execute()

    with pytest.raises(Conflict) as refused:
        put(gif, Edit(fps=5))

    assert refused.value.code == "nothing_to_edit"
    assert put(gif, None).image_state == "failed"


def test_a_still_is_cropped(library_here: Settings):
    gif = ready(images.still("PNG", (120, 90)), Edit(crop=Crop(0, 0, 30, 90)))

    found = looks(gif)
    assert [found[name] for name in ("thumb", "preview", "full")] == [(30, 90)] * 3
    assert not {"poster", "webp", "mp4"} & set(found)


def test_a_part_of_a_video(library_here: Settings):
    gif = ready(video(frames_each=20), Edit(1.2, 1.8, 10, Crop(0, 0, 48, 64)))

    assert looks(gif)["tinygif"] == looks(gif)["fullmp4"] == (48, 64)
    pixels = images.pixels(gif.image.thumb.read())
    assert {frame[1] > 240 > 20 > frame[0] for frame in pixels} == {True}  # lime
    assert sum(images.timing(gif.image.thumb.read())[0]) == 600


def test_a_part_of_a_long_video(library_here: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ImageUploader, "max_video_s", 1)
    monkeypatch.setattr(ImageUploader, "max_frames", 25)
    content = video(frames_each=20)  # 3 seconds, 60 frames
    for edit, said in (
        (None, "The video plays for 3 seconds; the limit is 1."),
        (Edit(crop=Crop(0, 0, 9, 9)), "The video plays for 3 seconds; the limit is 1."),
        (Edit(end=2), "The edit shows 2 seconds; the limit is 1."),
    ):
        with pytest.raises(Invalid) as refused:
            added(content, edit=edit)
        assert (refused.value.code, str(refused.value)) == ("too_long", said)

    gif = ready(content, Edit(1.2, 2, crop=Crop(0, 0, 48, 64)))

    assert gif.image_state == "ready"
    assert sum(images.timing(gif.image.thumb.read())[0]) == 800
    with pytest.raises(Invalid, match="plays for 3 seconds"):
        put(gif, None)
    monkeypatch.setattr(ImageUploader, "max_frames", 60)
    monkeypatch.setattr(ImageUploader, "max_video_s", 0.2)
    with pytest.raises(TooLong):
        cached(content)


def test_a_part_of_a_video_may_have_so_many_pixels_as_a_whole_one(
    monkeypatch: pytest.MonkeyPatch, library_here: Settings
):
    monkeypatch.setattr(ImageUploader, "max_video_s", 1)
    monkeypatch.setattr(ImageUploader, "max_video_pixels", 96 * 64 * 19)
    with pytest.raises(TooManyPixels):
        cached(video(frames_each=20))
