"""The animations, films and posters that are made of videos, and parts of what moves."""

from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from gifster.imaging import Image
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.recordings import COLORS, FRAME_MS, H264, ffmpeg, info_of, rendered, seen


@pytest.mark.parametrize("name", ["sound.mp4", "parts.mp4", "turned.mov", "clip.webm"])
def test_a_video_becomes_a_gif_a_webp_and_a_film_without_sound(
    recorded: Path, tmp_path: Path, name: str
):
    gif, webp, film, poster = (tmp_path / kind for kind in ("gif", "webp", "film", "poster"))

    made = rendered(
        recorded / name,
        {
            poster: Image().first_frame().convert("webp"),
            gif: Image().fit(48, 48),
            webp: Image().convert("webp"),
            film: Image().convert("mp4"),
        },
    )

    assert made == [poster, gif, webp, film]
    for moving in (gif, webp):
        assert [color for color, _ in seen(moving)] == COLORS
        assert all(abs(delay - 500) <= FRAME_MS for _, delay in seen(moving))
        assert sum(delay for _, delay in seen(moving)) == 2000
    assert probe(gif).loop == 0
    assert max(images.size(gif.read_bytes())) == 48
    assert [color for color, _ in seen(poster)] == ["red"]
    facts = info_of(film)
    assert (facts.duration_ms, facts.has_sound) == (2000, False)
    assert (facts.width > facts.height) == (name != "turned.mov")


def test_a_version_of_a_video_keeps_its_frame_rate_and_a_gif_has_15_a_second(
    recorded: Path, tmp_path: Path
):
    moving = tmp_path / "moving.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=128x72:r=60:d=1", *H264, moving)
    gif, film, slow = tmp_path / "gif", tmp_path / "film", tmp_path / "slow"

    rendered(
        moving,
        {gif: Image(), film: Image().convert("mp4"), slow: Image().fps(5).convert("mp4")},
    )

    assert (probe(gif).frames, probe(gif).duration_ms) == (15, 1000)
    assert (info_of(film).frames, info_of(film).duration_ms) == (60, 1000)
    assert (info_of(slow).frames, info_of(slow).duration_ms) == (5, 1000)


@pytest.mark.parametrize("kind", ["sound.mp4", "gif"])
def test_a_part_of_what_moves(recorded: Path, tmp_path: Path, kind: str):
    source = recorded / kind
    if kind == "gif":
        source = tmp_path / "source.gif"
        frames = [PIL.Image.new("RGB", (96, 64), color) for color in COLORS]
        frames[0].save(source, save_all=True, append_images=frames[1:], duration=500, loop=0)
    part, end, poster, film = (tmp_path / name for name in ("part", "end", "poster", "film"))

    rendered(
        source,
        {
            poster: Image().trim(1.2).first_frame().convert("png"),
            part: Image().trim(0.4, 1.2),
            end: Image().trim(1.2).convert("webp"),
            film: Image().trim(0.4, 1.2).convert("mp4"),
        },
    )

    assert [color for color, _ in seen(part)] == ["red", "lime", "blue"]
    assert abs(sum(delay for _, delay in seen(part)) - 800) <= FRAME_MS
    assert [color for color, _ in seen(end)] == ["blue", "yellow"]
    assert abs(sum(delay for _, delay in seen(end)) - 800) <= FRAME_MS
    assert [color for color, _ in seen(poster)] == ["blue"]
    assert abs(info_of(film).duration_ms - 800) <= 1


def test_a_part_behind_the_end_is_the_last_frame(recorded: Path, tmp_path: Path):
    target = tmp_path / "target"

    rendered(recorded / "sound.mp4", {target: Image().trim(9, 10)})

    assert [color for color, _ in seen(target)] == ["yellow"]


def test_fewer_frames_a_second_of_a_gif(tmp_path: Path):
    source, target, same = tmp_path / "source", tmp_path / "target", tmp_path / "same"
    source.write_bytes(images.gif((60, 40), [40] * 25))

    images.make(source, {target: Image().fps(5), same: Image().fps(50)})

    assert images.timing(target.read_bytes())[0] == [200] * 5
    assert images.timing(same.read_bytes())[0] == [40] * 25


def test_what_is_slow_enough_keeps_its_times(tmp_path: Path):
    # Given a GIF of pauses, and some frames that are too quick
    source, target, film = (tmp_path / name for name in ("source", "target", "film.mp4"))
    source.write_bytes(images.gif((60, 40), [120, 130, 300, 40, 40, 40, 120]))

    images.make(source, {target: Image().fps(10)})

    assert images.timing(target.read_bytes())[0] == [120, 130, 300, 100, 100, 100]
    # A video of 10 frames a second is not slower and quicker in turn
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=128x72:r=10:d=1", *H264, film)
    rendered(film, {target: Image()})
    assert images.timing(target.read_bytes())[0] == [100] * 10


def test_a_still_has_no_part(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.still("PNG"))

    assert images.make(source, {target: Image().trim(1, 2).fps(3)}) == [target]
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda image: image.trim(2, 1), "trim from 2 to 1 s: the start must come before the end"),
        (lambda image: image.trim(-1), "trim from -1 to None s"),
        (lambda image: image.fps(0), "fps is 0: an animation needs more than 0 frames a second"),
    ],
)
def test_a_part_that_cannot_be(call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call(Image())
