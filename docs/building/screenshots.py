"""The pictures of pages in the docs: `make screenshots`.

It runs Gifster in a folder of its own, has the demo make its sample GIFs, and takes the pictures
with Chromium.
"""

import io
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
from playwright.sync_api import sync_playwright

from gifster.cli import demo
from tests.browser import CHROMIUM
from tests.machine import BIN, eventually, free_port

IMAGES = Path(__file__).parent.parent / "images"
SAMPLES = 36
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 800}


@contextmanager
def running() -> Iterator[str]:
    """The address of a Gifster with sample GIFs."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.toml").touch()
        gifster = subprocess.Popen(  # noqa: S603
            [BIN / "gifster", "dev", "--port", str(port)], cwd=folder, stdout=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(url), within=60)
            demo.run("127.0.0.1", port, SAMPLES)
            eventually(lambda: all_ready(url), within=600)
            yield url
        finally:
            gifster.send_signal(signal.SIGINT)
            gifster.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def all_ready(url: str) -> bool:
    items = httpx.get(f"{url}/api/gifs?limit=100").json()["items"]
    return all(gif["state"] == "ready" for gif in items)


def keep(picture: bytes, name: str) -> None:
    """Write a picture with 256 colours: a third of the bytes, and nobody sees it."""
    path = IMAGES / name
    PIL.Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, kmeans=2).save(
        path, optimize=True
    )
    print(f"{path.name}: {path.stat().st_size:,} bytes", file=sys.stderr)


def shoot(browser: Any, url: str) -> None:
    """All the pictures."""
    desk = browser.new_page(viewport=DESK, color_scheme="light")
    desk.goto(url)
    desk.locator("article").nth(6).hover()
    desk.wait_for_timeout(2500)  # films begin to play
    keep(desk.screenshot(), "gallery.png")
    desk.locator("summary", has_text="Add").click()
    files = [
        {"name": f"{name.lower()}.gif", "mimeType": "image/gif",
         "buffer": demo.animation(paint, hue)}
        for name, paint, hue in ((*demo.SAMPLES[4], 0.9), (*demo.SAMPLES[5], 0.55))
    ]  # fmt: skip
    desk.locator("#image").set_input_files(files)
    for label, text in (("Title of sunset.gif", "Over the sea"), ("Tags of sunset.gif", "calm")):
        desk.get_by_label(label).fill(text)
    desk.get_by_label("Tags of all").fill("loops, evening")
    desk.wait_for_timeout(1000)
    keep(desk.screenshot(), "adding.png")
    phone = browser.new_context(viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True)
    page = phone.new_page()
    page.goto(url)
    page.wait_for_timeout(2500)
    keep(page.screenshot(), "phone.png")


if __name__ == "__main__":
    with running() as url, sync_playwright() as playwright:
        shoot(
            playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            ),
            url,
        )
