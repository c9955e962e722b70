"""Read videos by PyAV: MP4, MOV and WebM as animations without sound.

Only sandboxed processes do this, as FFmpeg's demuxers and decoders are written in C. `video_tracks`
opens them, and `video` writes them.
"""

import math
import struct
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image

from gifster.imaging import cicp, colors, video_tracks
from gifster.imaging.appearance import Appearance
from gifster.imaging.errors import TooManyFrames, Unreadable
from gifster.imaging.frame import Frame, changed_box
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.timing import Timing

#: What turns a picture as the matrix of its video says, by the signs of that matrix: where one to
#: the right and where one down in the picture are displayed. Like browsers, ignore others.
_TURNS: dict[tuple[int, ...], PIL.Image.Transpose] = {
    (-1, 0, 0, 1): PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): PIL.Image.Transpose.ROTATE_180,
    (0, 1, -1, 0): PIL.Image.Transpose.ROTATE_270,
    (0, -1, 1, 0): PIL.Image.Transpose.ROTATE_90,
    (0, 1, 1, 0): PIL.Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): PIL.Image.Transpose.TRANSVERSE,
}
_SWAPS_SIDES = {(0, 1, -1, 0), (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0)}
_MATRIX = struct.Struct("=5i")
#: The greatest brightness in the light levels of the content, and in the facts of a screen: a
#: fraction, whether the primaries are known, and whether the brightness is.
_UNSIGNED, _LUMINANCE, _LUMINANCE_AT = struct.Struct("=I"), struct.Struct("=4i"), 72
#: A video without a colour space has BT.709's from so many rows on, and else BT.601's, as in
#: browsers. One of these codecs has BT.601's in any case.
_HD_ROWS, _NEVER_HD = 720, {"av1", "vp9"}
_UNSPECIFIED, _BT709, _BT601, _BT2020 = 2, 1, 5, 9
#: The transfer functions that make a difference, and the primaries that make none: those of usual
#: screens and of television before them, whose colours are nearly the same.
_CONVERTED, _TELEVISION = {cicp.PQ, cicp.HLG, *cicp.GAMMAS}, {1, 5, 6, 7}
#: The last frame of a video is displayed as long as the one before; a single one so long (ms).
_SINGLE_MS = 40
#: A part that begins earlier is not worth looking for a key frame.
_WORTH_SEEKING_MS = 1_000


def read(path: Path, content_type: str, max_frames: int | None) -> ImageInfo:
    """The facts of a video. Its first picture is decoded, to see whether that is possible.

    Parameters:
      content_type: one of `VIDEO_TYPES`.
      max_frames: how many frames it may have; None means any number.

    Raises:
      Unreadable: there are no pictures in it, or they cannot be decoded.
      TooManyFrames: it has more frames.
    """
    with video_tracks.opened(path, content_type) as (container, stream):
        shown = next(video_tracks.decoded(container, stream), None)
        if shown is None:
            raise Unreadable("The video is damaged: it contains no picture.")
        width, height = _size(stream, shown)
        sound = bool(container.streams.audio)
    with video_tracks.opened(path, content_type) as (container, stream):
        start = end = None
        count = 0
        for packet in container.demux(stream):
            # A cut begins at a key frame that is not displayed: an edit list leaves it out.
            if packet.pts is None or not packet.size or packet.is_discard:
                continue
            count += 1
            if max_frames is not None and count > max_frames:
                raise TooManyFrames(
                    f"The video has too many frames: at most {max_frames} are allowed."
                )
            start = packet.pts if start is None else min(start, packet.pts)
            ends = packet.pts + (packet.duration or 0)
            end = ends if end is None else max(end, ends)
        duration_ms = round(((end or 0) - (start or 0)) * stream.time_base * 1000)
    return ImageInfo(
        content_type, width, height, max(count, 1), duration_ms, loop=0, has_sound=sound
    )


def frames(source: Path, info: ImageInfo, timing: Timing) -> Iterator[Frame]:
    """The frames of a video, upright, of the size in `info`: its own or a smaller one.

    Colours become sRGB's by the video's matrix and range, and high dynamic range is mapped to it
    (`hdr`). A frame that a timing does not show is decoded only, and has the picture of the frame
    before. Those that come long before it begins are not decoded: one frame stands for all of them.
    A frame that is displayed for no time is left out.

    Raises:
      Unreadable: the video cannot be decoded.
    """
    before: PIL.Image.Image | None = None
    said: _Said | None = None
    size, now_ms, shown_ms = (info.width, info.height), 0.0, 0
    place, shows = _place(source, info, timing.start_ms), timing.watch()
    with video_tracks.opened(source, info.content_type) as (container, stream):
        if place is not None:
            container.seek(place.at, stream=stream)
        for shown, delay_ms in _timed(video_tracks.decoded(container, stream), info, place):
            if place is not None and before is None:
                now_ms = _at_ms(shown) - place.begins_ms
            now_ms += delay_ms
            begins_ms, shown_ms = shown_ms, int(now_ms + 0.5)
            if begins_ms == shown_ms:  # the next one has the same time
                continue
            picture, changed = before, (0, 0, 0, 0)
            if shows(begins_ms, shown_ms) or picture is None:
                # Once: a frame whose side data was read is in a cycle with it, and stays in memory
                # for hundreds of frames.
                codec = stream.codec_context.codec.canonical_name
                said = said or _Said(_signs(shown), _peak_nits(shown), codec)
                picture = _picture(shown, size, said)
                changed = changed_box(picture, before)
            yield Frame(picture, changed, shown_ms - begins_ms)
            before = picture
    if before is None:
        raise Unreadable("The video is damaged: none of its pictures can be decoded.")


class _Said(NamedTuple):
    """What a video says beside its pixels: the signs of its matrix (see `_TURNS`), how bright its
    brightest pixel is (nits), and its codec."""

    signs: tuple[int, ...]
    peak_nits: float | None
    codec: str


class _Place(NamedTuple):
    """A moment to go to: in the stream's unit of time, and when the video begins (ms)."""

    at: int
    begins_ms: float


def _place(source: Path, info: ImageInfo, start_ms: int) -> _Place | None:
    """Where to go in a video so that decoding begins at a key frame before a moment; None if it has
    to begin with the first frame."""
    if start_ms < _WORTH_SEEKING_MS:
        return None
    with video_tracks.opened(source, info.content_type) as (container, stream):
        first = next(video_tracks.decoded(container, stream), None)
        if first is None or first.pts is None:
            return None
        at = first.pts + math.floor(start_ms / 1000 / stream.time_base)
        try:
            container.seek(at, stream=stream)
            found = next(video_tracks.decoded(container, stream), None)
        except (OSError, ValueError, EOFError):  # of FFmpeg: it has no index, for example
            return None
        if found is None or found.pts is None or not first.pts <= found.pts <= at:
            return None
    return _Place(at, _at_ms(first))


def _timed(
    shown: Iterator[Any], info: ImageInfo, place: _Place | None
) -> Iterator[tuple[Any, float]]:
    """Each frame, and how long it is displayed (ms).

    Parameters:
      place: where decoding begins; None is the first frame.
    """
    ends_ms = info.duration_ms + (0.0 if place is None else place.begins_ms)
    now_ms = delay_ms = 0.0
    for number, (frame, following) in enumerate(pairwise(chain(shown, [None]))):
        if number == 0:
            now_ms = _at_ms(frame)
            ends_ms += now_ms if place is None else 0
        if following is not None:  # its time may lie: none goes back
            delay_ms = max(0.0, _at_ms(following) - now_ms)
        else:
            delay_ms = max(1.0, max(0.0, ends_ms - now_ms) or delay_ms or _SINGLE_MS)
        yield frame, delay_ms
        now_ms += delay_ms


def _at_ms(frame: Any) -> float:
    return float((frame.pts or 0) * frame.time_base * 1000)


def _size(stream: Any, frame: Any) -> tuple[int, int]:
    """The size of the upright picture with square pixels, as browsers show it."""
    ratio = stream.sample_aspect_ratio or 1
    width, height = frame.width, frame.height
    if ratio > 1:
        width = round(width * ratio)
    elif ratio > 0:  # no pixels are lost
        height = round(height / ratio)
    return (height, width) if _signs(frame) in _SWAPS_SIDES else (width, height)


def _signs(frame: Any) -> tuple[int, ...]:
    """The signs of the matrix by which a frame is displayed (see `_TURNS`)."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return (1, 0, 0, 1)
    a, b, _, c, d = _MATRIX.unpack_from(bytes(matrix))
    least = max(map(abs, (a, b, c, d))) / 100
    return tuple((number > least) - (number < -least) for number in (a, b, c, d))


def _picture(frame: Any, size: tuple[int, int], said: _Said) -> PIL.Image.Image:
    signs = said.signs
    width, height = size[::-1] if signs in _SWAPS_SIDES else size
    matrix = frame.colorspace
    if matrix == _UNSPECIFIED:
        is_hd = frame.height >= _HD_ROWS and said.codec not in _NEVER_HD
        matrix = _BT709 if is_hd else _BT601
    has_alpha = any(component.is_alpha for component in frame.format.components)
    scaled = {} if has_alpha else {"width": width, "height": height}
    rgb = frame.reformat(
        format="rgba" if has_alpha else "rgb24",
        src_colorspace=matrix,
        interpolation="AREA",
        threads=1,  # more may not be startable in a sandbox
        **scaled,
    )
    picture = _with_alpha(rgb, (width, height)) if has_alpha else rgb.to_image()
    picture = _in_srgb(picture, frame, said)
    turn = _TURNS.get(signs)
    return picture if turn is None else picture.transpose(turn)


def _with_alpha(frame: Any, size: tuple[int, int]) -> PIL.Image.Image:
    """The picture of a frame (rgba) in a size; RGB if nothing in it is transparent.

    FFmpeg would mix the colours of transparent pixels into what is beside them.
    """
    plane = frame.planes[0]
    picture = PIL.Image.frombytes(
        "RGBA", (frame.width, frame.height), bytes(plane), "raw", "RGBA", plane.line_size
    )
    if picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    return picture if picture.size == size else picture.resize(size, PIL.Image.Resampling.BOX)


def _in_srgb(picture: PIL.Image.Image, frame: Any, said: _Said) -> PIL.Image.Image:
    """A picture of high dynamic range or of wide colours as a screen shows it, and any other as it
    is."""
    primaries = frame.color_primaries
    # The colour space that VP9 has in itself means all of BT.2020 (VP9, 7.2.2).
    if primaries == _UNSPECIFIED and frame.colorspace == _BT2020 and said.codec == "vp9":
        primaries = _BT2020
    codes = cicp.in_avif(primaries, frame.color_trc)
    if codes.transfer not in _CONVERTED and codes.primaries in _TELEVISION:
        return picture
    return colors.to_srgb(picture, Appearance(colors=codes, peak_nits=said.peak_nits))


def _peak_nits(frame: Any) -> float | None:
    """How bright the brightest pixel is: that of the content, else that of the screen on which it
    was made (FFmpeg's AVContentLightMetadata and AVMasteringDisplayMetadata)."""
    content = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if content is not None and (most := int(_UNSIGNED.unpack_from(bytes(content))[0])):
        return most
    screen = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if screen is None:
        return None
    numerator, denominator, _, is_known = _LUMINANCE.unpack_from(bytes(screen), _LUMINANCE_AT)
    return numerator / denominator if is_known and numerator > 0 and denominator > 0 else None
