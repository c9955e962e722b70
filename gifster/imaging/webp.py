"""Write animated WebP by libwebp, which comes with Pillow."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import PIL.Image

from gifster.imaging.frame_sequence import FrameSequence
from gifster.imaging.patches import Track
from gifster.imaging.reducer import Reducer

#: Quality of 100, unless a recipe says otherwise; the encoder's effort, of 6.
QUALITY, _METHOD = 75, 0
#: Without loss, what libwebp calls quality is an effort, too. Method 1 takes about as long as lossy
#: encoding, and a terminal has a quarter fewer bytes than with method 0.
_LOSSLESS_EFFORT, _LOSSLESS_METHOD = 0, 1
#: This part of an animation, and at least so many frames, predict the size of the whole.
_SAMPLE, _MIN_SAMPLED_FRAMES = 1 / 8, 4
#: WebP keeps transparency without loss, which costs more bytes than the colours. So alpha is
#: rounded to multiples of this: four levels.
#: What covers this part of the first picture, such as a background, keeps its own, and what differs
#: from it by no more than this gets it, too: as in noise, which no eye sees and many bytes keep.
_ALPHA_STEP, _WIDE, _NEAR = 85, 1 / 32, 8
_MAX_PLAYS = 0xFFFF
#: The extended header (RFC 9649, 2.7.1): the offsets of its kind and of its flags, and one flag.
_KIND_AT, _FLAGS_AT, _ALPHA = 12, 20, 0x10


def is_likely_smaller(
    track: Track, gif_bytes: list[int], quality: int | None = None, palette: bytes | None = None
) -> bool:
    """Whether the WebP is likely to be smaller than a GIF, judging by their first frames.

    Parameters:
      gif_bytes: the size of the GIF after each frame.
      quality, palette: the WebP's, as for `write()`.
    """
    count = max(_MIN_SAMPLED_FRAMES, round(len(gif_bytes) * _SAMPLE))
    if count >= len(gif_bytes):
        return True
    sample = io.BytesIO()
    write(sample, track.first(count), 0, quality, palette)
    return sample.tell() < gif_bytes[count - 1]


def write(
    target: Path | IO[bytes],
    track: Track,
    plays: int,
    quality: int | None = None,
    palette: bytes | None = None,
) -> None:
    """Write an animated WebP that plays `plays` times, or forever if that is 0.

    Parameters:
      quality: 1 to 100; None is ours. With a palette, it is the effort.
      palette: RGB, 3 bytes for each of at most 255 colours, to which it is reduced, and then kept
        without loss. Drawings may have fewer bytes so.
    """
    delays = track.delays_ms
    pictures = _with_rounded_alpha(track.pictures())
    effort, method = quality or QUALITY, _METHOD
    if palette is not None:
        pictures = _in_colors_of(palette, pictures)
        effort, method = quality or _LOSSLESS_EFFORT, _LOSSLESS_METHOD
    sequence = FrameSequence(pictures, len(delays))
    # No key frames: nobody seeks in it.
    sequence.save(
        target, "WEBP", save_all=True, duration=delays, loop=min(plays, _MAX_PLAYS),
        quality=effort, method=method, kmin=0, kmax=0, lossless=palette is not None,
    )  # fmt: skip
    if isinstance(target, Path) and track.is_transparent:
        _declare_alpha(target)


def _declare_alpha(path: Path) -> None:
    """Say in the header that some of the animation is transparent.

    libwebp says so only if a frame has an alpha channel. It leaves the transparent edges of frames
    out, and then all frames can be opaque boxes on an empty canvas. Chromium leaves that canvas
    transparent in any case; libwebp's own decoder, and so Pillow, shows it black.
    """
    with path.open("r+b") as file:
        head = file.read(_FLAGS_AT + 1)
        if head[_KIND_AT : _KIND_AT + 4] == b"VP8X":
            file.seek(_FLAGS_AT)
            file.write(bytes([head[_FLAGS_AT] | _ALPHA]))


def _with_rounded_alpha(pictures: Iterator[PIL.Image.Image]) -> Iterator[PIL.Image.Image]:
    table: list[int] | None = None
    for picture in pictures:
        if picture.mode != "RGBA":
            yield picture
            continue
        alpha, made = picture.getchannel("A"), picture.copy()
        table = table or _rounded(alpha)
        made.putalpha(alpha.point(table))
        yield made


def _in_colors_of(palette: bytes, pictures: Iterator[PIL.Image.Image]) -> Iterator[PIL.Image.Image]:
    reducer = Reducer(palette)
    for picture in pictures:
        made = reducer.reduced(picture.convert("RGB")).convert("RGB")
        if picture.mode == "RGBA":
            made.putalpha(picture.getchannel("A"))
        yield made


def _rounded(alpha: PIL.Image.Image) -> list[int]:
    """What each level of alpha becomes: the same one in all frames, so that nothing flickers."""
    counts, least = alpha.histogram(), _WIDE * alpha.width * alpha.height
    wide = [level for level, count in enumerate(counts) if count >= least]
    wide.sort(key=counts.__getitem__, reverse=True)
    kept = [0, 255]
    for level in [*wide, *range(_ALPHA_STEP, 255, _ALPHA_STEP)]:
        if all(abs(level - other) > _NEAR for other in kept):
            kept.append(level)
    return [min(kept, key=lambda other: abs(other - level)) for level in range(256)]
