"""A real browser, one for all tests of a process: most of what it costs is its start."""

import asyncio
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

#: The browser without its window starts a page in an eighth of the processor time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    # Together they save a tenth of its processor time: a process that draws, and the threads that
    # compile scripts and collect garbage beside each page's own.
    "--in-process-gpu",
    "--js-flags=--single-threaded",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: The option of a profile in which pictures move.
MOTION = {"reduced_motion": "no-preference"}


@pytest.fixture(scope="session")
def _browser() -> Iterator[tuple[Any, asyncio.AbstractEventLoop]]:
    """The browser, and the event loop of Playwright's, which it marks as running until it ends."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (on Debian: apt install chromium-headless-shell)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launched(playwright.chromium)
        browser.new_context = still(browser.new_context)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


def launched(chromium: Any) -> Any:
    """The browser. One start of thousands ends in a segmentation fault, on a busy machine, and all
    tests of a browser in this process would fail."""
    from playwright.sync_api import Error

    try:
        return chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
    except Error as error:
        warnings.warn(f"the browser did not start at first: {error}", stacklevel=1)
        return chromium.launch(executable_path=CHROMIUM, args=OPTIONS)


def still(new_context: Callable[..., Any]) -> Callable[..., Any]:
    """Profiles of people who prefer less motion. A page whose pictures move draws itself sixty
    times a second, which takes a third of the browser's processor time. Tests that look at what
    moves use `MOTION`. Nothing fails before a minute is over, as with `eventually`."""

    def patient(**options: Any) -> Any:
        context = new_context(**{"reduced_motion": "reduce"} | options)
        context.set_default_timeout(60_000)
        return context

    return patient


@pytest.fixture(scope="module")
def chromium(_browser: tuple[Any, asyncio.AbstractEventLoop]) -> Iterator[Any]:
    """The browser for the tests of one file. Tests of other files may run event loops of their
    own, so Playwright's counts as running only here."""
    browser, loop = _browser
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)
