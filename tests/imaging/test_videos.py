"""Videos as sources: their facts, and the animations and posters that are made of them."""

import subprocess
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import PIL.Image
import pytest

from gifster import imaging
from gifster.imaging import Image, strip_metadata
from gifster.imaging.errors import TooManyFrames, Truncated, Unreadable
from gifster.imaging.probe import ImageInfo, probe
from tests import images
from tests.imaging.carriers import box

#: Each half second of the video has one of these colours.
COLORS = ["red", "lime", "blue", "yellow"]
SOURCE = [
    "-f", "lavfi", "-i",
    ";".join(f"color={color}:s=96x64:r=30:d=0.5[v{n}]" for n, color in enumerate(COLORS))
    + ";" + "".join(f"[v{n}]" for n in range(len(COLORS))) + f"concat=n={len(COLORS)}",
]  # fmt: skip
SOUND = ["-f", "lavfi", "-i", "sine=d=2", "-shortest"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-color_range", "tv"]


#: A frame of a GIF that is made of a video (ms).
FRAME_MS = 70


def ffmpeg(*arguments: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("videos")
    ffmpeg(*SOURCE, *SOUND, *H264, made / "sound.mp4")
    ffmpeg(*SOURCE, *H264, "-movflags", "frag_keyframe+empty_moov", made / "parts.mp4")
    ffmpeg("-display_rotation", "-90", "-i", made / "sound.mp4", "-c", "copy", made / "turned.mov")
    ffmpeg(*SOURCE, "-vf", "setsar=2", *H264, made / "wide.mp4")
    ffmpeg(*SOURCE, "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", made / "clip.webm")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", made / "only-sound.mp4")
    return made


def info_of(path: Path) -> ImageInfo:
    return probe(path, videos=True)


def rendered(source: Path, recipes: dict[Path, Image]) -> list[Path]:
    made = imaging.render(source, info_of(source), recipes)
    return [path for path in made if isinstance(path, Path)]


def seen(path: Path) -> list[tuple[str, int]]:
    """The colours that an animation shows, each with its duration (ms)."""
    named = {(255, 0, 0): "red", (0, 255, 0): "lime", (0, 0, 255): "blue", (255, 255, 0): "yellow"}
    found: list[tuple[str, int]] = []
    with PIL.Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            pixel: Any = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
            color = next(
                name for rgb, name in named.items()
                if all(abs(a - b) < 30 for a, b in zip(pixel, rgb, strict=True))
            )  # fmt: skip
            delay = int(image.info.get("duration") or 0)
            if found and found[-1][0] == color:
                found[-1] = (color, found[-1][1] + delay)
            else:
                found.append((color, delay))
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sound.mp4", ("video/mp4", 96, 64, 60, 2000, True)),
        ("parts.mp4", ("video/mp4", 96, 64, 60, 2000, False)),
        ("turned.mov", ("video/quicktime", 64, 96, 60, 2000, True)),
        ("wide.mp4", ("video/mp4", 192, 64, 60, 2000, False)),
        ("clip.webm", ("video/webm", 96, 64, 60, 2000, False)),
    ],
)
def test_the_facts_of_a_video(folder: Path, name: str, expected: tuple[Any, ...]):
    info = info_of(folder / name)

    found = (info.content_type, info.width, info.height, info.frames, info.duration_ms)
    assert (*found, info.has_sound) == expected
    # It plays forever, as a GIF does
    assert (info.loop, info.bytes) == (0, (folder / name).stat().st_size)


def test_a_video_is_a_file_like_others_unless_it_is_to_be_read(folder: Path):
    info = probe(folder / "sound.mp4")

    assert (info.content_type, info.frames, info.is_image) == ("video/mp4", 0, False)


@pytest.mark.parametrize("name", ["sound.mp4", "parts.mp4", "turned.mov", "clip.webm"])
def test_a_video_becomes_a_gif_a_webp_and_a_film_without_sound(
    folder: Path, tmp_path: Path, name: str
):
    gif, webp, film, poster = (tmp_path / kind for kind in ("gif", "webp", "film", "poster"))

    made = rendered(
        folder / name,
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
    folder: Path, tmp_path: Path
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
def test_a_part_of_what_moves(folder: Path, tmp_path: Path, kind: str):
    source = folder / kind
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


@pytest.mark.parametrize(
    ("display", "size", "left", "top"),
    [
        (["-display_hflip"], (96, 64), "blue", "mixed"),
        (["-display_vflip"], (96, 64), "red", "mixed"),
        (["-display_rotation", "90"], (64, 96), "mixed", "blue"),
        (["-display_rotation", "-90", "-display_hflip"], (64, 96), "mixed", "red"),
        (["-display_rotation", "37"], (96, 64), "red", "mixed"),
    ],
)
def test_a_video_is_turned_and_mirrored_as_browsers_do_it(
    tmp_path: Path, display: list[str], size: tuple[int, int], left: str, top: str
):
    """Other angles than multiples of 90 degrees are ignored."""
    halves = "color=red:s=48x64:d=0.1[a];color=blue:s=48x64:d=0.1[b];[a][b]hstack"
    ffmpeg("-f", "lavfi", "-i", halves, *H264, tmp_path / "a.mp4")
    ffmpeg(*display, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "b.mp4")
    poster = tmp_path / "poster"

    rendered(tmp_path / "b.mp4", {poster: Image().first_frame().convert("png")})

    with PIL.Image.open(poster) as image:
        assert image.size == size
        for box, expected in (((0, 0, 9, size[1]), left), ((0, 0, size[0], 9), top)):
            red, _, blue = image.convert("RGB").crop(box).resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
            found = "mixed" if min(red, blue) > 60 else "red" if red > blue else "blue"
            assert found == expected


def test_a_video_that_was_cut_without_encoding_begins_where_it_was_cut(
    folder: Path, tmp_path: Path
):
    """Phones cut videos so: the frames since the last key frame stay, and an edit list leaves them
    out."""
    cut, gif, film = tmp_path / "cut.mp4", tmp_path / "gif", tmp_path / "film"
    ffmpeg("-ss", "1", "-i", folder / "sound.mp4", "-c", "copy", cut)

    rendered(cut, {gif: Image(), film: Image().convert("mp4")})

    assert (info_of(cut).frames, info_of(cut).duration_ms) == (30, 1000)
    assert [color for color, _ in seen(gif)] == ["blue", "yellow"]
    assert all(abs(delay - 500) <= FRAME_MS for _, delay in seen(gif))
    assert info_of(film).duration_ms == 1000


def test_frames_whose_times_are_equal_or_go_back(tmp_path: Path):
    odd, gif, film, part = (tmp_path / name for name in ("odd.webm", "gif", "film", "part"))
    moving = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=30:d=2", "-c:v", "libvpx", "-cpu-used", "8"]
    ffmpeg(*moving, tmp_path / "a.webm")
    ffmpeg("-i", tmp_path / "a.webm", "-c", "copy", "-bsf:v", "setts=ts=TS-mod(TS\\,100)", odd)
    # The second frame at 0.4 s now says 1.4 s
    block, content = b"\x81" + (400).to_bytes(2, "big"), odd.read_bytes()
    at = content.index(block, content.index(block) + 1)
    odd.write_bytes(content[: at + 1] + (1400).to_bytes(2, "big") + content[at + 3 :])

    rendered(
        odd,
        {
            gif: Image(),
            film: Image().convert("mp4"),
            part: Image().trim(1).convert("mp4"),
        },
    )

    assert info_of(odd).duration_ms == 1933
    assert probe(gif).duration_ms == pytest.approx(1933, abs=FRAME_MS)
    assert info_of(film).duration_ms == 1933
    assert info_of(part).duration_ms == 933


def test_a_part_behind_the_end_is_the_last_frame(folder: Path, tmp_path: Path):
    target = tmp_path / "target"

    rendered(folder / "sound.mp4", {target: Image().trim(9, 10)})

    assert [color for color, _ in seen(target)] == ["yellow"]


def test_fewer_frames_a_second_of_a_gif(tmp_path: Path):
    source, target, same = tmp_path / "source", tmp_path / "target", tmp_path / "same"
    source.write_bytes(images.gif((60, 40), [40] * 25))

    images.make(source, {target: Image().fps(5), same: Image().fps(50)})

    assert images.timing(target.read_bytes())[0] == [200] * 5
    assert images.timing(same.read_bytes())[0] == [40] * 25


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


@pytest.mark.parametrize("name", ["sound.mp4", "turned.mov", "clip.webm"])
@pytest.mark.parametrize("left", [0.5, 0.97])
def test_a_cut_video_is_truncated(folder: Path, tmp_path: Path, name: str, left: float):
    content = (folder / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: int(len(content) * left)])

    with pytest.raises(Truncated):
        info_of(cut)


def test_videos_that_cannot_be_read(folder: Path, tmp_path: Path):
    with pytest.raises(Unreadable, match="The video contains no pictures"):
        info_of(folder / "only-sound.mp4")
    with pytest.raises(TooManyFrames, match="at most 59 are allowed"):
        probe(folder / "sound.mp4", 59, videos=True)
    content = (folder / "parts.mp4").read_bytes()
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(content.replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC"))
    with pytest.raises(Unreadable):
        info_of(unknown)


def test_a_video_names_no_other_file(folder: Path, tmp_path: Path):
    """A playlist or an external reference must not make the reader open files or the network."""
    secret = folder / "sound.mp4"
    lists = tmp_path / "list.mp4"
    for content in (
        f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        lists.write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + content.encode())
        with pytest.raises(Unreadable):
            info_of(lists)


def test_the_tests_decode_what_pyav_has():
    assert {"h264", "hevc", "vp8", "vp9", "av1"} <= set(av.codecs_available)


PLACE = "+48.8577+002.2950/"
TAGS = ["-metadata", f"location={PLACE}", "-metadata", "title=Grandma", "-metadata",
        "creation_time=2001-02-03T04:05:06Z"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("sound.mp4", []),
        ("sound.mp4", ["-movflags", "use_metadata_tags+faststart"]),
        ("turned.mov", []),
        ("parts.mp4", ["-movflags", "frag_keyframe+empty_moov"]),
        ("clip.webm", ["-metadata:s:v", "title=Grandma"]),
    ],
)
def test_the_metadata_of_a_video_is_taken_out(
    folder: Path, tmp_path: Path, name: str, flags: list[str]
):
    source, clean = tmp_path / name, tmp_path / f"clean-{name}"
    ffmpeg("-i", folder / name, "-c", "copy", *TAGS, *flags, source)
    content = source.read_bytes()
    assert b"Grandma" in content

    assert strip_metadata(source, clean, info_of(source).content_type)

    left = clean.read_bytes()
    assert len(left) == len(content)
    for text in (PLACE, "Grandma", "location", "loci"):
        assert text.encode() not in left
    with av.open(str(clean)) as video, av.open(str(source)) as before:
        assert not {"title", "location", "creation_time"} & set(video.metadata)
        assert "title" in before.metadata
        shown = [bytes(packet) for packet in video.demux() if packet.size]
        assert shown == [bytes(packet) for packet in before.demux() if packet.size]
    assert info_of(clean) == info_of(source)
    # And once more there is nothing to take out
    assert not strip_metadata(clean, tmp_path / "again", info_of(clean).content_type)


def test_the_samples_of_a_data_track_go_with_it(folder: Path, tmp_path: Path):
    """Cameras write where they were, moment by moment, into a track of its own."""
    places, source, clean = tmp_path / "a.srt", tmp_path / "places.mp4", tmp_path / "clean.mp4"
    places.write_text(
        "".join(
            f"{n + 1}\n00:00:00,{n}00 --> 00:00:00,{n}90\nPLACE{n} N 2.295\n\n" for n in range(8)
        )
    )
    ffmpeg(
        "-i", folder / "sound.mp4", "-i", places, "-map", "0:v", "-map", "1:s", "-map", "0:a",
        "-c", "copy", "-c:s", "mov_text", "-metadata:s:v", "handler_name=My Camera", source,
    )  # fmt: skip
    assert b"PLACE7" in source.read_bytes()
    assert b"My Camera" in source.read_bytes()

    assert strip_metadata(source, clean, "video/mp4")

    assert b"PLACE" not in clean.read_bytes()
    assert b"My Camera" not in clean.read_bytes()
    with av.open(str(clean)) as video, av.open(str(source)) as before:
        assert [stream.type for stream in before.streams] == ["video", "subtitle", "audio"]
        assert [stream.type for stream in video.streams] == ["video", "audio"]
        for kind in ("video", "audio"):
            shown = [bytes(packet) for packet in video.demux(**{kind: 0}) if packet.size]
            assert shown == [bytes(packet) for packet in before.demux(**{kind: 0}) if packet.size]
            video.seek(0)
            before.seek(0)
    assert info_of(clean) == info_of(source)
    assert not strip_metadata(clean, tmp_path / "again", "video/mp4")


@pytest.mark.parametrize("at", ["moov", "trak", "minf", "stbl", "moof", "traf"])
def test_a_box_of_metadata_goes_wherever_it_is(folder: Path, tmp_path: Path, at: str):
    source, clean = tmp_path / "source.mp4", tmp_path / "clean.mp4"
    content = (folder / "parts.mp4").read_bytes()
    source.write_bytes(with_box(content, at.encode(), b"uuid", bytes(16) + b"Grandma"))

    assert strip_metadata(source, clean, "video/mp4")

    assert b"Grandma" not in clean.read_bytes()
    assert len(clean.read_bytes()) == len(content) + 31


def with_box(content: bytes, into: bytes, kind: bytes, inner: bytes) -> bytes:
    """A file with one more box at the end of the first box of a kind, and of those around it."""
    made, done, at = b"", False, 0
    while at < len(content):
        size, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        body = content[at + 8 : at + size]
        if not done and name in {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}:
            longer = body + box(kind, inner) if name == into else with_box(body, into, kind, inner)
            done, body = longer != body, longer
        made, at = made + box(name, body), at + size
    return made


def test_a_live_stream_says_no_sizes(tmp_path: Path):
    live = tmp_path / "live.webm"
    ffmpeg(*SOURCE, "-c:v", "libvpx-vp9", "-live", "1", "-f", "webm", live)

    assert info_of(live).frames == 60
    # And whatever comes between its clusters or behind them is found
    hidden = b"".join(
        bytes.fromhex(element) + bytes([0x80 | 7]) + b"Grandma"
        for element in ("ec", "1254c367", "1043a770", "bf")
    )
    cluster = bytes.fromhex("1f43b675")
    content = live.read_bytes()
    at = content.rindex(cluster)
    live.write_bytes(content[:at] + hidden + content[at:] + hidden)
    assert strip_metadata(live, tmp_path / "clean", "video/webm")
    assert b"Grandma" not in (tmp_path / "clean").read_bytes()
    assert info_of(tmp_path / "clean") == info_of(live)
    assert not strip_metadata(tmp_path / "clean", tmp_path / "again", "video/webm")


def test_what_is_behind_a_webm_is_cut_off(folder: Path, tmp_path: Path):
    source, clean = tmp_path / "source.webm", tmp_path / "clean.webm"
    content = (folder / "clip.webm").read_bytes()
    source.write_bytes(content + bytes(3) + b"Grandma")

    assert strip_metadata(source, clean, "video/webm")

    assert len(clean.read_bytes()) == len(content)
    assert info_of(clean) == info_of(folder / "clip.webm")


@pytest.mark.parametrize(
    ("transfer", "level", "expected"),
    [("smpte2084", 0.58, 188), ("arib-std-b67", 0.5, 99)],
    ids=["PQ", "HLG"],
)
def test_a_video_of_high_dynamic_range_is_mapped_to_srgb(
    tmp_path: Path, transfer: str, level: float, expected: int
):
    # Given a video of 10 bits that is as bright as white paper (203 nits), or a quarter of that
    source, poster = tmp_path / "bright.mp4", tmp_path / "poster"
    grey = f"lum='{64 + round(876 * level)}':cb=512:cr=512"
    ffmpeg(
        "-f", "lavfi", "-i", f"color=s=96x64:d=0.2,format=yuv420p10le,geq={grey}",
        "-c:v", "libx265", "-x265-params",
        f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc", source,
    )  # fmt: skip

    rendered(source, {poster: Image().first_frame().convert("png")})

    # I expect half its light, as the other half is for what is brighter (`hdr`)
    with PIL.Image.open(poster) as image:
        color: Any = image.convert("RGB").getpixel((48, 32))
    assert all(abs(value - expected) < 10 for value in color)
