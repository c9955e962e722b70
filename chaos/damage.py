"""Images with random damage, and images that are hostile on purpose."""

import io
import random
import struct
import zlib
from collections.abc import Callable

import PIL.GifImagePlugin
import PIL.Image

from tests import images


def mutate(content: bytes, chance: random.Random) -> bytes:
    """The same content with one to eight random defects."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        length = chance.choice([1, 2, 4, 16, 256])
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + length] = chance.randbytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * chance.choice([1, 2, 50])
            case 4:
                data[at : at + 2] = chance.choice([b"\0\0", b"\xff\xff", b"\xff\x7f", b"\x21\xff"])
            case _:
                del data[chance.randint(len(data) // 2, len(data)) :]
    return bytes(data)


def flip(content: bytes, chance: random.Random) -> bytes:
    """The same content with one to sixteen bits flipped: most of it is still readable."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 16)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def cut(content: bytes, chance: random.Random) -> bytes:
    """The same content, cut off at a random place."""
    return content[: chance.randrange(len(content))]


def gif_of(size: tuple[int, int], frames: int, delay_cs: int = 10, data: bytes = b"") -> bytes:
    """A GIF of equal frames: of one colour, or with the given LZW data."""
    if not data:
        picture = PIL.Image.new("P", size)
        picture.putpalette(bytes(768))
        data = b"".join(PIL.GifImagePlugin.getdata(picture)[1:])
    control = b"\x21\xf9\x04\x00" + struct.pack("<H", delay_cs) + b"\0\0"
    frame = control + b"\x2c" + struct.pack("<4HB", 0, 0, *size, 0) + data
    screen = struct.pack("<2H", *size) + b"\xf7\0\0" + bytes(range(256)) * 3
    return b"GIF89a" + screen + frame * frames + b"\x3b"


def still(format: str, side: int, **options: object) -> bytes:
    """A square image of one colour."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), "teal").save(buffer, format, **options)
    return buffer.getvalue()


#: Options with which Pillow compresses sooner, and less.
_QUICK = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}


def moving(format: str, side: int, frames: int) -> bytes:
    """An animated square that changes its colour, with a few bytes per frame."""
    buffer = io.BytesIO()
    made = [PIL.Image.new("RGB", (side, side), (number % 256, 0, 0)) for number in range(frames)]
    made[0].save(
        buffer, format, save_all=True, append_images=made[1:], duration=50, loop=0,
        **_QUICK[format],
    )  # fmt: skip
    return buffer.getvalue()


def compressed_zeros(count: int) -> bytes:
    """What `zlib.compress(bytes(count))` means, for a multiple of a million, without compressing it
    all: the same compressed block again and again."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (count % 65_521) << 16 | 1  # Adler-32 of zeros (RFC 1950)
    end = packer.flush() + struct.pack(">I", checksum)
    return b"\x78\xda" + block * (count // 1_000_000) + end


def _with_size(png: bytes, side: int) -> bytes:
    """The PNG with another size in its header."""
    head = b"IHDR" + struct.pack(">2I", side, side) + png[24:29]
    return png[:8] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + png[33:]


def _with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """The PNG with one more chunk after its header."""
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:33] + chunk + png[33:]


def _resized(content: bytes, of: tuple[int, int], to: tuple[int, int], form: str) -> bytes:
    """The image with another size where it states its size first."""
    assert content.count(struct.pack(form, *of)) >= 1
    return content.replace(struct.pack(form, *of), struct.pack(form, *to), 1)


def _lzw(bits: int, content: bytes) -> bytes:
    blocks = [content[at : at + 255] for at in range(0, len(content), 255)]
    return bytes([bits]) + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0"


#: Images that must be rejected before a pixel is decoded, with the expected codes.
OVER_THE_LIMITS: dict[str, tuple[Callable[[], bytes], str]] = {
    "GIF of 20,000 × 20,000": (lambda: images.huge_header(20_000, 20_000), "too_many_pixels"),
    "PNG of 20,000 × 20,000": (
        lambda: _with_size(images.still("PNG"), 20_000),
        "too_many_pixels",
    ),
    "JPEG of 20,000 × 20,000": (
        lambda: _resized(images.still("JPEG"), (200, 300), (20_000, 20_000), ">2H"),
        "too_many_pixels",
    ),
    "WebP of 16,383 × 16,383": (
        lambda: _resized(images.still("WEBP"), (300, 200), (16_383, 16_383), "<2H"),
        "too_many_pixels",
    ),
    "AVIF of 20,000 × 20,000": (
        lambda: _resized(images.still("AVIF"), (300, 200), (20_000, 20_000), ">2I"),
        "too_many_pixels",
    ),
    "GIF of 10,000 frames of 1 × 1": (lambda: gif_of((1, 1), 10_000), "too_many_frames"),
    "GIF of 4,000 frames of 2,000 × 2,000": (
        lambda: gif_of((2_000, 2_000), 4_000),
        "too_many_pixels",
    ),
    "GIF of 4,000 × 4,000 that moves": (lambda: gif_of((4_000, 4_000), 2), "too_many_pixels"),
    "GIF of 11 minutes a frame": (lambda: gif_of((9, 9), 10, delay_cs=65_535), "too_long"),
}

#: Images as large as the limits allow: the engine must process them.
HEAVY: dict[str, Callable[[], bytes]] = {
    "GIF of 40 million pixels": lambda: gif_of((6_300, 6_300), 1),
    "PNG of 40 million pixels": lambda: still("PNG", 6_300, **_QUICK["PNG"]),
    "PNG of 40 million pixels, 16 bits each": lambda: _deep_png(6_300),
    "JPEG of 40 million pixels": lambda: still("JPEG", 6_300),
    "progressive JPEG of 40 million pixels": lambda: still("JPEG", 6_300, progressive=True),
    "WebP of 8 million pixels": lambda: still("WEBP", 2_880, **_QUICK["WEBP"]),
    "AVIF of 8 million pixels": lambda: still("AVIF", 2_880, **_QUICK["AVIF"]),
    "GIF of 8 million pixels, 20 frames": lambda: gif_of((2_880, 2_880), 20),
    "PNG of 8 million pixels, 6 frames": lambda: moving("PNG", 2_880, 6),
    "WebP of 8 million pixels, 6 frames": lambda: moving("WEBP", 2_880, 6),
    "AVIF of 8 million pixels, 6 frames": lambda: moving("AVIF", 2_880, 6),
    "GIF of 5,000 frames of 1 × 1": lambda: gif_of((1, 1), 5_000),
}

#: Images that decode to more than the limits allow, or whose codes are broken.
BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG with a text of 500 MB": lambda: _with_chunk(
        images.still("PNG"), b"zTXt", b"a\0\0" + compressed_zeros(500_000_000)
    ),
    "PNG with a profile of 500 MB": lambda: _with_chunk(
        images.still("PNG"), b"iCCP", b"a\0\0" + compressed_zeros(500_000_000)
    ),
    "GIF of nothing but clear codes": lambda: gif_of((99, 99), 9, data=_lzw(8, bytes(99_999))),
    # 0x101 is the end, and 0x102 the first free code: here it is defined by itself.
    "GIF whose codes are made of themselves": lambda: gif_of(
        (99, 99), 9, data=_lzw(8, b"\x00\x05\x0a\x14\x28" * 9_999)
    ),
    "PNG that says it has 4 billion frames": lambda: _with_chunk(
        images.still("PNG"), b"acTL", b"\xff\xff\xff\xff\0\0\0\0"
    ),
    "GIF whose codes have 12 bits": lambda: gif_of((99, 99), 9, data=_lzw(12, bytes(999))),
    "GIF whose codes have 255 bits": lambda: gif_of((99, 99), 9, data=_lzw(255, bytes(999))),
    "GIF whose codes have none": lambda: gif_of((99, 99), 9, data=_lzw(0, bytes(999))),
    "GIF without pixels": lambda: gif_of((999, 999), 99, data=_lzw(8, b"")),
}

#: Images within the limits that take some minutes.
LONG_BOMBS: dict[str, Callable[[], bytes]] = {
    "GIF of 8 million pixels, 240 frames": lambda: gif_of((2_880, 2_880), 240),
    "GIF of 400,000 pixels, 5,000 frames": lambda: gif_of((632, 632), 5_000),
    "WebP of 8 million pixels, 120 frames": lambda: moving("WEBP", 2_880, 120),
    "noise of 480 × 480, 5,000 frames": lambda: _noise((480, 480), 5_000),
}


def _deep_png(side: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("I;16", (side, side), 9).save(buffer, "PNG", **_QUICK["PNG"])
    return buffer.getvalue()


def _noise(size: tuple[int, int], frames: int) -> bytes:
    """A GIF whose frames change everywhere: three frames, repeated."""
    once = images.noisy_gif(size, 3)
    start = once.index(b"\x21\xf9")
    return once[:start] + once[start:-1] * (frames // 3) + b"\x3b"
