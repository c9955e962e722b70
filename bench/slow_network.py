"""A page over a slow network, in Chromium: `python -m bench.slow_network http://127.0.0.1:8000/`.

It says when the first picture of the gallery was there, how many bytes came, and how far things
moved meanwhile (the cumulative layout shift, https://web.dev/articles/cls).
"""

import sys
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM

#: Bits a second down and up, and the time of a round trip (ms).
DOWN, UP, ROUND_TRIP_MS = 1.6e6, 750e3, 150
SIZES = ((1280, 860), (390, 844))
ROUNDS = 3
#: Placeholders are in the page itself.
WATCH = """
window.shift = 0;
window.first = 0;
new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => { shift += value; }))
    .observe({ type: "layout-shift", buffered: true });
for (const kind of ["load", "loadeddata"]) addEventListener(kind, ({ target }) => {
    const picture = target.closest?.(".card img:not(.blurred), .card video");
    if (picture && !window.first) window.first = performance.now();
}, true);
"""


def visit(browser: Any, url: str, width: int, height: int) -> tuple[float, float, float]:
    """When the first picture was there (ms), the bytes that came in five seconds, and the shift."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.add_init_script(WATCH)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": ROUND_TRIP_MS, "downloadThroughput": DOWN / 8,
         "uploadThroughput": UP / 8},
    )  # fmt: skip
    came: list[float] = []
    network.on("Network.loadingFinished", lambda event: came.append(event["encodedDataLength"]))
    page.goto(url)
    page.wait_for_timeout(5_000)
    first, shift = page.evaluate("[first, shift]")
    context.close()
    return first, sum(came), shift


def main() -> None:
    """Visit the page a few times in each size."""
    [url] = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, height in SIZES:
            for _ in range(ROUNDS):
                first, came, shift = visit(browser, url, width, height)
                print(f"{width} pixels: first picture after {first:,.0f} ms, "
                      f"{came / 1000:,.0f} kB in 5 s, shift {shift:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
