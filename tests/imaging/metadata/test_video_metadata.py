"""Metadata of videos: tags, boxes, data tracks and what is behind the end are taken out."""

from pathlib import Path

import av
import pytest

from gifster.imaging import strip_metadata
from tests.imaging.carriers import box
from tests.imaging.recordings import SOURCE, ffmpeg, info_of

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
    recorded: Path, tmp_path: Path, name: str, flags: list[str]
):
    source, clean = tmp_path / name, tmp_path / f"clean-{name}"
    ffmpeg("-i", recorded / name, "-c", "copy", *TAGS, *flags, source)
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


def test_the_samples_of_a_data_track_go_with_it(recorded: Path, tmp_path: Path):
    """Cameras write where they were, moment by moment, into a track of its own."""
    places, source, clean = tmp_path / "a.srt", tmp_path / "places.mp4", tmp_path / "clean.mp4"
    places.write_text(
        "".join(
            f"{n + 1}\n00:00:00,{n}00 --> 00:00:00,{n}90\nPLACE{n} N 2.295\n\n" for n in range(8)
        )
    )
    ffmpeg(
        "-i", recorded / "sound.mp4", "-i", places, "-map", "0:v", "-map", "1:s", "-map", "0:a",
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
def test_a_box_of_metadata_goes_wherever_it_is(recorded: Path, tmp_path: Path, at: str):
    source, clean = tmp_path / "source.mp4", tmp_path / "clean.mp4"
    content = (recorded / "parts.mp4").read_bytes()
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


def test_what_is_behind_a_webm_is_cut_off(recorded: Path, tmp_path: Path):
    source, clean = tmp_path / "source.webm", tmp_path / "clean.webm"
    content = (recorded / "clip.webm").read_bytes()
    source.write_bytes(content + bytes(3) + b"Grandma")

    assert strip_metadata(source, clean, "video/webm")

    assert len(clean.read_bytes()) == len(content)
    assert info_of(clean) == info_of(recorded / "clip.webm")
