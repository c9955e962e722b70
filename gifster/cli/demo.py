"""Draws sample GIFs, and uploads them over HTTP as any program does."""

import colorsys
import http.client
import io
import json
import math
import secrets
from collections.abc import Callable, Iterator

import PIL.Image
import PIL.ImageDraw

from gifster.cli.root import Refused, progress, say

#: What helps where nobody uploads without an account.
HINT = (
    " Samples come from nobody: while you add them, run that Gifster with "
    "GIFSTER_AUTH__ANONYMOUS_UPLOADS=true, and if auth.read is members, with "
    "GIFSTER_AUTH__READ=public too (anybody who reaches it then sees the library)."
)
FRAMES = 24
#: What the benchmarks have, and the shapes of others, so that a gallery shows several.
SIZE = (360, 270)
SHAPES = [SIZE, (240, 400), (360, 203), (300, 300), (420, 180), (270, 360)]
Draw = PIL.ImageDraw.ImageDraw
Size = tuple[int, int]
Paint = Callable[[Draw, float, float, Size], None]


def run(host: str, port: int, count: int, root: str = "") -> None:
    """Make and upload GIFs, with a progress bar.

    Parameters:
      count: the number of GIFs.
      root: the path below which it is (`web.root_path`).

    Raises:
      Refused: no Gifster answers there, or it refuses an upload.
    """
    for _ in progress("uploading", _upload_all((host, port, root), count), count):
        pass
    shown = f"[{host}]" if ":" in host else host
    say(f"Done: see http://{shown}:{port}{root}/")


def _upload_all(site: tuple[str, int, str], count: int) -> Iterator[None]:
    for number in range(count):
        name, paint = SAMPLES[number % len(SAMPLES)]
        hue = (number * 0.618034) % 1
        title = f"{name} {number // len(SAMPLES) + 1}"
        content = animation(paint, hue, SHAPES[number % len(SHAPES)])
        _upload(site, title, f"demo, {name.lower()}", content)
        yield


def animation(paint: Paint, hue: float, size: Size = SIZE) -> bytes:
    """The bytes of an animated GIF: `FRAMES` frames of 40 ms each, in an endless loop.

    Parameters:
      paint: draws one frame, given its moment in the loop and the hue, both 0 to 1, and its size.
      size: width and height (pixels).
    """
    frames = []
    for index in range(FRAMES):
        frame = PIL.Image.new("RGB", size, _color(hue, 0.25, 0.16))
        paint(PIL.ImageDraw.Draw(frame), index / FRAMES, hue, size)
        frames.append(frame.quantize(64))
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=40, loop=0, disposal=1
    )
    return buffer.getvalue()


def _orbit(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for ring in range(1, 6):
        angle = math.tau * (moment * (1 if ring % 2 else -1) + ring / 5)
        x = size[0] / 2 + math.cos(angle) * ring * 28
        y = size[1] / 2 + math.sin(angle) * ring * 21
        _disc(draw, x, y, 8 + 3 * ring, _color(hue + ring * 0.07))


def _wave(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for x in range(10, size[0], 20):
        y = size[1] / 2 + 80 * math.sin(math.tau * (x / size[0] + moment))
        _disc(draw, x, y, 9, _color(hue + x / size[0] / 3))


def _bounce(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for ball in range(3):
        height = abs(math.sin(math.tau * (moment / 2 + ball / 6)))
        x, y = size[0] * (80 + ball * 100) / 360, size[1] - 45 - height * (size[1] - 105)
        _disc(draw, x, y, 32, _color(hue + ball / 9))
    draw.rectangle((0, size[1] - 12, *size), fill=_color(hue, 0.4, 0.35))


def _pulse(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for ring in range(5, 0, -1):
        radius = (ring - 1 + moment) * 36
        _disc(
            draw, size[0] / 2, size[1] / 2, radius, _color(hue + ring * 0.04, 0.6, 1 - ring * 0.15)
        )


def _sunset(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for line in range(size[1]):
        share = line / size[1]
        draw.line((0, line, size[0], line), fill=_color(hue + share * 0.2, 0.7, 0.35 + share * 0.6))
    sun = size[1] * (0.52 + 0.08 * math.sin(math.tau * moment))
    _disc(draw, size[0] / 2, sun, min(size) * 0.22, _color(hue + 0.12, 0.35, 1))
    for wave in range(6):
        y = size[1] * (0.66 + wave * 0.06)
        points = [
            (x, y + 5 * math.sin(math.tau * (x / size[0] * 2 + moment * (1 + wave % 2) + wave / 6)))
            for x in range(0, size[0] + 12, 12)
        ]
        draw.polygon([*points, size, (0, size[1])], fill=_color(hue + 0.55, 0.6, 0.5 - wave * 0.06))


def _tunnel(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for ring in range(14, 0, -1):
        near = ring - 2 * moment
        reach, turn = 1.32**near * 6, 0.22 * near
        corners = [
            (
                size[0] / 2 + math.cos(turn + corner * math.tau / 4) * reach * 1.3,
                size[1] / 2 + math.sin(turn + corner * math.tau / 4) * reach * 1.3,
            )
            for corner in range(4)
        ]
        bright = 0.25 + 0.7 * (ring % 2)
        draw.polygon(corners, fill=_color(hue + ring * 0.02, 0.55, bright))


def _rain(draw: Draw, moment: float, hue: float, size: Size) -> None:
    for drop in range(70):
        x = (drop * 0.618034 % 1) * size[0]
        y = ((drop * 0.754878 + moment * (1 + drop % 2)) % 1) * (size[1] + 40) - 20
        length = 8 + drop % 5 * 4
        draw.line((x, y, x - 3, y + length), fill=_color(hue + drop % 7 * 0.03, 0.5), width=3)


KINDS: list[tuple[str, Paint]] = [
    ("Orbit", _orbit),
    ("Wave", _wave),
    ("Bounce", _bounce),
    ("Pulse", _pulse),
]
SAMPLES = [*KINDS, ("Sunset", _sunset), ("Tunnel", _tunnel), ("Rain", _rain)]


def _disc(draw: Draw, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _color(hue: float, saturation: float = 0.65, value: float = 0.95) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _upload(site: tuple[str, int, str], title: str, tags: str, content: bytes) -> None:
    host, port, root = site
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("title", title), ("tags", tags))
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="demo.gif"\r\n'
        "Content-Type: image/gif\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request(
            "POST",
            f"{root}/api/gifs",
            body,
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Refused(
            f"no Gifster answers on {host}:{port} ({error}): start one with `make dev`, or name "
            "the port of the one that runs"
        ) from None
    finally:
        connection.close()
    if answer.status != 202:
        try:
            reason = json.loads(text)["detail"]
        except (ValueError, KeyError):
            reason = f"HTTP {answer.status}"
        hint = HINT if answer.status == 401 else ""
        raise Refused(f"Gifster on {host}:{port} refused the upload: {reason}{hint}")
