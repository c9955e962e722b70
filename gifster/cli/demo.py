"""Draws sample GIFs, and uploads them over HTTP as any program does."""

import colorsys
import http.client
import io
import json
import math
import secrets
from collections.abc import Callable

import PIL.Image
import PIL.ImageDraw
from rich.progress import track

from gifster.cli.root import Refused, say

FRAMES = 24
SIZE = (360, 270)
Draw = PIL.ImageDraw.ImageDraw


def run(host: str, port: int, count: int) -> None:
    """Make and upload GIFs, with a progress bar.

    Parameters:
      count: the number of GIFs.

    Raises:
      Refused: no Gifster answers there, or it refuses an upload.
    """
    for number in track(range(count), description="Uploading sample GIFs"):
        name, paint = KINDS[number % len(KINDS)]
        hue = (number * 0.618034) % 1
        title = f"{name} {number // len(KINDS) + 1}"
        _upload(host, port, title, f"demo, {name.lower()}", animation(paint, hue))
    say(f"Done: see http://{host}:{port}/")


def animation(paint: Callable[[Draw, float, float], None], hue: float) -> bytes:
    """The bytes of an animated GIF: `FRAMES` frames of 40 ms each, in an endless loop.

    Parameters:
      paint: draws one frame, given its moment in the loop and the hue, both 0 to 1.
    """
    frames = []
    for index in range(FRAMES):
        frame = PIL.Image.new("RGB", SIZE, _color(hue, 0.25, 0.16))
        paint(PIL.ImageDraw.Draw(frame), index / FRAMES, hue)
        frames.append(frame.quantize(64))
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=40, loop=0, disposal=1
    )
    return buffer.getvalue()


def _orbit(draw: Draw, moment: float, hue: float) -> None:
    for ring in range(1, 6):
        angle = math.tau * (moment * (1 if ring % 2 else -1) + ring / 5)
        x = SIZE[0] / 2 + math.cos(angle) * ring * 28
        y = SIZE[1] / 2 + math.sin(angle) * ring * 21
        _disc(draw, x, y, 8 + 3 * ring, _color(hue + ring * 0.07))


def _wave(draw: Draw, moment: float, hue: float) -> None:
    for x in range(10, SIZE[0], 20):
        y = SIZE[1] / 2 + 80 * math.sin(math.tau * (x / SIZE[0] + moment))
        _disc(draw, x, y, 9, _color(hue + x / SIZE[0] / 3))


def _bounce(draw: Draw, moment: float, hue: float) -> None:
    for ball in range(3):
        height = abs(math.sin(math.tau * (moment / 2 + ball / 6)))
        _disc(draw, 80 + ball * 100, SIZE[1] - 45 - height * 165, 32, _color(hue + ball / 9))
    draw.rectangle((0, SIZE[1] - 12, *SIZE), fill=_color(hue, 0.4, 0.35))


def _pulse(draw: Draw, moment: float, hue: float) -> None:
    for ring in range(5, 0, -1):
        size = (ring - 1 + moment) * 36
        _disc(draw, SIZE[0] / 2, SIZE[1] / 2, size, _color(hue + ring * 0.04, 0.6, 1 - ring * 0.15))


KINDS: list[tuple[str, Callable[[Draw, float, float], None]]] = [
    ("Orbit", _orbit),
    ("Wave", _wave),
    ("Bounce", _bounce),
    ("Pulse", _pulse),
]


def _disc(draw: Draw, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _color(hue: float, saturation: float = 0.65, value: float = 0.95) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _upload(host: str, port: int, title: str, tags: str, content: bytes) -> None:
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
            "/api/gifs",
            body,
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        answer = connection.getresponse()
        text = answer.read()
    except OSError as error:
        raise Refused(
            f"no Gifster answers on {host}:{port} ({error}): start one with `make dev`, or name "
            "its port with --port"
        ) from None
    finally:
        connection.close()
    if answer.status != 202:
        try:
            reason = json.loads(text)["detail"]
        except (ValueError, KeyError):
            reason = f"HTTP {answer.status}"
        hint = " Run it with GIFSTER_AUTH__ANONYMOUS_UPLOADS=true." if answer.status == 401 else ""
        raise Refused(f"Gifster on {host}:{port} refused the upload: {reason}{hint}")
