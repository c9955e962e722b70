"""Animated PNG: each frame is the part that changes, compressed as Pillow compresses a PNG.

PNG specification (Third Edition, W3C), section 11.3.6. Pillow writes them, too, and has
all frames in memory then.
"""

from pathlib import Path

from PIL.PngImagePlugin import getchunks, putchunk

from gifster.imaging.parts import Play

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LONGEST = 0xFFFF
#: A frame stays, and the next replaces what is in its box.
_NONE, _SOURCE = 0, 0


def write(target: Path, play: Play, loop: int) -> None:
    """Write an animated PNG; `loop` is how often it plays, 0 for ever."""
    mode, delays = "RGBA" if play.is_transparent else "RGB", play.delays_ms
    sequence = 0
    with target.open("wb") as file:
        file.write(_SIGNATURE)
        changes = zip(play.changes(), delays, strict=True)
        for number, ((picture, box), delay_ms) in enumerate(changes):
            chunks = getchunks(picture.convert(mode))
            if number == 0:
                putchunk(file, b"IHDR", chunks[0][1])
                putchunk(file, b"acTL", _words(4, len(delays), loop))
            place = _words(4, sequence, *picture.size, *box[:2])
            putchunk(file, b"fcTL", place, _delay(delay_ms), bytes([_NONE, _SOURCE]))
            sequence += 1
            for kind, data, _ in chunks:
                if kind != b"IDAT":
                    continue
                if number == 0:
                    putchunk(file, kind, data)
                else:
                    putchunk(file, b"fdAT", _words(4, sequence), data)
                    sequence += 1
        putchunk(file, b"IEND")


def _delay(delay_ms: int) -> bytes:
    """As a fraction of a second: in ms, or less exactly, if it is too long."""
    parts = next(parts for parts in (1000, 100, 10, 1) if delay_ms * parts <= _LONGEST * 1000)
    return _words(2, delay_ms * parts // 1000, parts)


def _words(size: int, *numbers: int) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number in numbers)
