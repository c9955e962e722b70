"""Videos as sources: their facts, how browsers show them, and those that cannot be read."""

import gc
import struct
from pathlib import Path
from typing import Any

import av
import PIL.Image
import pytest

from gifster.imaging import Image, memory, strip_metadata, video_frames
from gifster.imaging.errors import TooManyFrames, Truncated, Unreadable
from gifster.imaging.probe import probe
from gifster.imaging.sandbox import LIMITS
from gifster.imaging.timing import WHOLE
from tests import images
from tests.combinations import only_in_ci
from tests.imaging import carriers
from tests.imaging.recordings import FRAME_MS, H264, ffmpeg, info_of, rendered, seen


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
def test_the_facts_of_a_video(recorded: Path, name: str, expected: tuple[Any, ...]):
    info = info_of(recorded / name)

    found = (info.content_type, info.width, info.height, info.frames, info.duration_ms)
    assert (*found, info.has_sound) == expected
    # It plays forever, as a GIF does
    assert (info.loop, info.bytes) == (0, (recorded / name).stat().st_size)


def test_a_video_is_a_file_like_others_unless_it_is_to_be_read(recorded: Path):
    info = probe(recorded / "sound.mp4")

    assert (info.content_type, info.frames, info.is_image) == ("video/mp4", 0, False)


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
    recorded: Path, tmp_path: Path
):
    """Phones cut videos so: the frames since the last key frame stay, and an edit list leaves them
    out."""
    cut, gif, film = tmp_path / "cut.mp4", tmp_path / "gif", tmp_path / "film"
    ffmpeg("-ss", "1", "-i", recorded / "sound.mp4", "-c", "copy", cut)

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


@pytest.mark.parametrize("name", ["sound.mp4", "turned.mov", "clip.webm"])
@pytest.mark.parametrize("left", [0.5, 0.97])
def test_a_cut_video_is_truncated(recorded: Path, tmp_path: Path, name: str, left: float):
    content = (recorded / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: int(len(content) * left)])

    with pytest.raises(Truncated):
        info_of(cut)


def test_videos_that_cannot_be_read(recorded: Path, tmp_path: Path):
    with pytest.raises(Unreadable, match="The video contains no pictures"):
        info_of(recorded / "only-sound.mp4")
    with pytest.raises(TooManyFrames, match="at most 59 are allowed"):
        probe(recorded / "sound.mp4", 59, videos=True)
    content = (recorded / "parts.mp4").read_bytes()
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(content.replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC"))
    with pytest.raises(Unreadable):
        info_of(unknown)


def test_a_video_names_no_other_file(recorded: Path, tmp_path: Path):
    """A playlist or an external reference must not make the reader open files or the network."""
    secret = recorded / "sound.mp4"
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


def test_a_video_of_wide_colours_is_converted_to_srgb(tmp_path: Path):
    # Given a pale green in the primaries of BT.2020
    source, poster = tmp_path / "wide.mp4", tmp_path / "poster"
    pale = "color=0x7fa070:s=96x64:d=0.2,format=gbrp"
    wide = "setparams=color_primaries=bt2020:color_trc=bt2020-10:colorspace=bt2020nc"
    to_yuv = "scale=out_color_matrix=bt2020:out_range=tv,format=yuv444p"
    ffmpeg("-f", "lavfi", "-i", f"{pale},{to_yuv},{wide}", "-c:v", "libx264", "-qp", "1", source)

    rendered(source, {poster: Image().first_frame().convert("png")})

    # By BT.2020's matrix to BT.709 in linear light, as Chromium shows it
    with PIL.Image.open(poster) as image:
        color: Any = image.convert("RGB").getpixel((48, 32))
    assert all(abs(a - b) < 4 for a, b in zip(color, (102, 164, 105), strict=True))


@pytest.mark.parametrize("place", ["movie", "track", "file"])
@pytest.mark.parametrize("is_full", [False, True], ids=["QuickTime", "ISO"])
def test_metadata_of_either_kind_does_not_make_a_video_look_cut_off(
    tmp_path: Path, place: str, *, is_full: bool
):
    # Given a video of a telephone: in QuickTime the box meta has no version in front of its boxes
    source, bare, poster = tmp_path / "a.mp4", tmp_path / "bare.mp4", tmp_path / "poster"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=96x64:d=0.2", *H264, source)
    handler = carriers.box(b"hdlr", bytes(8) + b"mdta" + bytes(13))
    keys = carriers.box(b"keys", bytes(4) + struct.pack(">2L", 1, 27) + b"mdtacom.android.version")
    meta = carriers.box(b"meta", bytes(4 * is_full) + handler + keys)
    content = bytearray(source.read_bytes())
    outer = {"movie": [b"moov"], "track": [b"moov", b"trak"], "file": []}[place]
    for kind in outer:
        at = content.index(kind) - 4
        size = int.from_bytes(content[at : at + 4], "big")
        content[at : at + 4] = (size + len(meta)).to_bytes(4, "big")
    end = at + size if outer else len(content)
    content[end:end] = meta
    source.write_bytes(content)

    info = probe(source, videos=True)
    rendered(source, {poster: Image().first_frame()})
    strip_metadata(source, bare, info.content_type)

    assert (info.width, info.height, info.frames) == (96, 64, 5)
    assert probe(bare, videos=True).frames == 5
    assert b"android" not in bare.read_bytes()


@pytest.mark.parametrize(
    "folders", [[], [b"moov"], [b"moov", b"trak"], [b"moov", b"trak", b"mdia"]]
)
def test_the_zeros_that_end_a_box_of_quicktime_are_no_box(tmp_path: Path, folders: list[bytes]):
    source, bare = tmp_path / "a.mp4", tmp_path / "bare.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=96x64:d=0.2", *H264, source)
    content = bytearray(source.read_bytes())
    end = len(content)
    for kind in folders:
        at = content.index(kind) - 4
        size = int.from_bytes(content[at : at + 4], "big")
        content[at : at + 4] = (size + 4).to_bytes(4, "big")
        end = at + size
    content[end:end] = bytes(4)
    source.write_bytes(content)

    strip_metadata(source, bare, "video/mp4")

    assert probe(source, videos=True).frames == probe(bare, videos=True).frames == 5


@pytest.mark.parametrize(
    ("suffix", "codec", "rows", "expected"),
    [
        ("mp4", "libx264", 720, (189, 97, 40)),
        ("mp4", "libx264", 718, (180, 90, 41)),
        ("webm", "libvpx-vp9", 720, (180, 90, 41)),
        ("mp4", "libvpx-vp9", 720, (180, 90, 41)),
        ("mp4", "libsvtav1", 720, (180, 90, 41)),
        ("webm", "libvpx-vp9:bt709", 96, (189, 97, 40)),
        ("webm", "libvpx-vp9:bt2020nc", 96, (222, 67, 13)),
    ],
    ids=["HD", "SD", "VP9", "VP9 in MP4", "AV1", "VP9 that says BT.709", "VP9 that says BT.2020"],
)
def test_the_colours_of_a_video_that_says_little_of_them(
    tmp_path: Path, suffix: str, codec: str, rows: int, expected: tuple[int, ...]
):
    source, poster = tmp_path / f"source.{suffix}", tmp_path / "poster"
    codec, _, space = codec.partition(":")
    brown = f"color=0xB45A28:s=160x{rows}:r=10:d=0.1,format=yuv420p"
    brown += f",setparams=colorspace={space}" if space else ""
    ffmpeg("-f", "lavfi", "-i", brown, "-c:v", codec, source)

    rendered(source, {poster: Image().first_frame().convert("png")})

    with PIL.Image.open(poster) as image:
        color: Any = image.convert("RGB").getpixel((48, 32))
    assert all(abs(a - b) < 10 for a, b in zip(color, expected, strict=True))


def test_a_video_with_narrow_pixels_keeps_all_of_them(tmp_path: Path):
    """Browsers enlarge the other side."""
    source, poster = tmp_path / "narrow.mp4", tmp_path / "poster"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:d=0.2,setsar=1/2", *H264, source)

    rendered(source, {poster: Image().first_frame().convert("png")})

    assert (info_of(source).width, info_of(source).height) == (96, 128)
    with PIL.Image.open(poster) as image:
        assert image.size == (96, 128)


@pytest.mark.parametrize(
    ("tracks", "name"),
    [
        # A photo before the film, such as a cover
        (["-c:v:0", "mjpeg", "-pix_fmt:v:0", "yuvj420p"], "photo.mov"),
        # A track that is not enabled, such as a thumbnail
        (["-disposition:v:0", "0", "-disposition:v:1", "default"], "disabled.mp4"),
    ],
    ids=["photo", "disabled"],
)
def test_a_video_shows_the_track_that_browsers_show(tmp_path: Path, tracks: list[str], name: str):
    source, poster = tmp_path / name, tmp_path / "poster"
    both = ["-f", "lavfi", "-i", "color=red:s=32x32:r=20:d=0.5"]
    both += ["-f", "lavfi", "-i", "color=blue:s=96x64:r=20:d=0.5", "-map", "0", "-map", "1"]
    ffmpeg(*both, *H264, *tracks, source)

    rendered(source, {poster: Image().first_frame().convert("png")})

    info = info_of(source)
    assert (info.width, info.height, info.duration_ms) == (96, 64, 500)
    assert seen(poster)[0][0] == "blue"


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_a_transparent_webm_stays_transparent(tmp_path: Path, codec: str):
    # Given a film whose left half is transparent, over a colour that nobody sees
    source = tmp_path / "sticker.webm"
    halves = "color=red@0:s=48x64:d=0.4,format=yuva420p[a];color=blue:s=48x64:d=0.4,format=yuva420p"
    ffmpeg(
        "-f", "lavfi", "-i", f"{halves}[b];[a][b]hstack,setsar=2",
        "-c:v", codec, "-pix_fmt", "yuva420p", "-auto-alt-ref", "0", source,
    )  # fmt: skip
    targets = {kind: tmp_path / kind for kind in ("gif", "webp", "png", "webm", "mp4")}

    rendered(source, {path: Image().convert(kind) for kind, path in targets.items()})

    for kind in ("gif", "webp", "png"):
        with PIL.Image.open(targets[kind]) as image:
            picture = image.convert("RGBA")
        assert picture.size == (192, 64)
        left: Any = picture.getpixel((40, 32))
        edge: Any = picture.getpixel((100, 32))
        assert left[3] == 0
        assert min(edge[3], edge[2]) > 200
        assert edge[0] < 40
    with PIL.Image.open(poster_of(targets["webm"])) as image:
        assert image.convert("RGBA").getchannel("A").getpixel((40, 32)) == 0
    with PIL.Image.open(poster_of(targets["mp4"])) as image:
        white: Any = image.convert("RGB").getpixel((40, 32))
        assert min(white) > 245


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short video as a telephone makes them, whose decoder keeps 16 pictures."""
    target = tmp_path_factory.mktemp("large") / "source.mp4"
    size = "testsrc2=s=1080x1440:r=30:d=0.7"
    ffmpeg("-f", "lavfi", "-i", size, *H264, "-preset", "ultrafast", "-refs", "16", target)
    return target


@only_in_ci("three versions cost 2 s; that of a large GIF is made daily")
def test_a_film_as_large_as_a_large_video_has_the_memory_that_its_encoder_takes(
    large: Path, tmp_path: Path
):
    recipes = {
        tmp_path / "mp4": Image().convert("mp4"),
        tmp_path / "webm": Image().convert("webm"),
        tmp_path / "small": Image().fit(220, 220),
    }

    assert set(rendered(large, recipes)) == set(recipes)

    assert (info_of(tmp_path / "mp4").width, info_of(tmp_path / "mp4").height) == (1080, 1440)


def test_a_film_as_large_as_a_large_gif_has_it_too(tmp_path: Path):
    source, film = tmp_path / "source.gif", tmp_path / "mp4"
    source.write_bytes(images.noisy_gif((2200, 2000), 2))

    assert rendered(source, {film: Image().convert("mp4")}) == [film]


def test_an_encoder_without_memory_says_so(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "limits", lambda *_: LIMITS)

    with pytest.raises(Unreadable, match="takes too much memory"):
        rendered(large, {tmp_path / "mp4": Image().convert("mp4")})


def test_no_decoded_frame_stays_in_memory(recorded: Path):
    """Without the garbage collector, which comes too late for frames of megabytes."""
    source = recorded / "sound.mp4"
    gc.collect()
    gc.disable()
    try:
        count = sum(1 for _ in video_frames.frames(source, info_of(source), WHOLE))
        left = sum(isinstance(found, av.VideoFrame) for found in gc.get_objects())
    finally:
        gc.enable()

    assert count == 60
    assert left <= 3


def poster_of(video: Path) -> Path:
    """What a video begins with, as a PNG."""
    poster = video.with_suffix(".poster")
    rendered(video, {poster: Image().first_frame().convert("png")})
    return poster
