"""Write animated PNG: each frame is only the box that changes, compressed by Pillow.

Pillow writes animated PNG too, but keeps all frames in memory. The format: PNG specification (Third
Edition, W3C), section 11.3.6.
"""

from pathlib import Path

from PIL.PngImagePlugin import getchunks, putchunk

from gifster.imaging.patches import Track
from gifster.imaging.reducer import Reducer

#: The size and the kind of colours, the palette, and which of its colours are transparent.
_BEFORE_PIXELS = {b"IHDR", b"PLTE", b"tRNS"}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_WORD = 0xFFFF
#: A frame stays when the next one comes, and replaces the pixels in its box.
_DISPOSE_NONE, _BLEND_SOURCE = 0, 0


def write(target: Path, track: Track, plays: int, palette: bytes | None = None) -> None:
    """Write an animated PNG that plays `plays` times, or forever if that is 0.

    Parameters:
      palette: RGB, 3 bytes for each of at most 255 colours, to which it is reduced. By default it
        keeps all of its colours, and partial transparency.
    """
    mode, delays = "RGBA" if track.is_transparent else "RGB", track.delays_ms
    reducer = None if palette is None else Reducer(palette)
    sequence = 0
    with target.open("wb") as file:
        file.write(_SIGNATURE)
        changes = zip(track.changes(), delays, strict=True)
        for number, ((picture, box), delay_ms) in enumerate(changes):
            chunks = (
                getchunks(reducer.reduced(picture), optimize=True)
                if reducer
                else getchunks(picture.convert(mode))
            )
            if number == 0:
                for kind, data, _ in chunks:
                    if kind in _BEFORE_PIXELS:
                        putchunk(file, kind, data)
                putchunk(file, b"acTL", _big_endian(4, len(delays), plays))
            place = _big_endian(4, sequence, *picture.size, *box[:2])
            operations = bytes([_DISPOSE_NONE, _BLEND_SOURCE])
            putchunk(file, b"fcTL", place, _delay(delay_ms), operations)
            sequence += 1
            for kind, data, _ in chunks:
                if kind != b"IDAT":
                    continue
                if number == 0:
                    putchunk(file, kind, data)
                else:
                    putchunk(file, b"fdAT", _big_endian(4, sequence), data)
                    sequence += 1
        putchunk(file, b"IEND")


def _delay(delay_ms: int) -> bytes:
    """A delay as a fraction of a second: in ms, or in a coarser unit if it is too long for that."""
    units = next(units for units in (1000, 100, 10, 1) if delay_ms * units <= _MAX_WORD * 1000)
    return _big_endian(2, delay_ms * units // 1000, units)


def _big_endian(size: int, *numbers: int) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number in numbers)
