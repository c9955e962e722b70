"""Uploads that take long to check, and requests that take long to read, delay nobody else."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from chaos import bodies
from gifster.api import context
from gifster.api.context import FEW_OF, MANY, Memory, trim
from gifster.api.fair_queue import FairQueue
from tests import images
from tests.combinations import only_in_ci
from tests.machine import eventually, files_below, stand_still
from tests.stack import Stack

#: Another path, so the server is not forked: a forked one has no sandbox among its own processes.
WEB = {"PYTHONPATH": "."}
#: More than a web process has threads.
MANY_UPLOADS = 40
BODY = bodies.of("GIF, a frame of sub-blocks of one byte", 3_000_000)


def checker(web: Stack) -> psutil.Process:
    """The web server's process for long checks. It starts with the first one."""
    assert web.upload(BODY).json()["code"] == "too_complex"
    [found] = [
        process
        for process in psutil.Process(web.processes[0].pid).children()[0].children()
        if "imaging.sandbox" in " ".join(process.cmdline())
    ]
    return found


@contextmanager
def many_waiting(web: Stack, checker: psutil.Process) -> Iterator[list[Future[httpx.Response]]]:
    """Uploads that have come in, and are not checked until the block ends."""
    stand_still(checker.pid)
    with ThreadPoolExecutor(MANY_UPLOADS) as threads:
        uploads = [threads.submit(web.upload, BODY) for _ in range(MANY_UPLOADS)]
        try:
            eventually(lambda: len(complete_files(web)) == MANY_UPLOADS)
            yield uploads
        finally:
            with suppress(psutil.NoSuchProcess):  # one that was killed
                checker.resume()


def complete_files(web: Stack) -> list[str]:
    cache = web.var / "cache"
    return [name for name in files_below(cache) if (cache / name).stat().st_size == len(BODY)]


@pytest.mark.long
def test_others_are_served_while_uploads_wait_to_be_checked(web: Stack):
    checking = checker(web)
    with many_waiting(web, checking) as uploads:
        # I expect everybody else to be answered before them
        assert all(web.client.get("/api/gifs").status_code == 200 for _ in range(20))
        accepted = web.upload(images.gif())
        assert accepted.status_code == 202
        assert not any(upload.done() for upload in uploads)

    # … and then the uploads
    assert {upload.result().status_code for upload in uploads} == {422}
    assert {upload.result().json()["code"] for upload in uploads} == {"too_complex"}
    eventually(lambda: len(files_below(web.var / "cache")) == 1)


@only_in_ci("many heavy uploads; the other tries them daily")
def test_uploads_whose_check_is_killed_may_be_sent_again(web: Stack):
    checking = checker(web)
    with many_waiting(web, checking) as uploads:
        checking.kill()

    answers = [upload.result() for upload in uploads]
    assert {answer.status_code for answer in answers} <= {422, 503}
    lost = [answer for answer in answers if answer.status_code == 503]
    assert lost
    assert {answer.json()["code"] for answer in lost} == {"check_interrupted"}
    assert all(answer.headers["Retry-After"] for answer in lost)
    assert checker(web).pid != checking.pid
    eventually(lambda: complete_files(web) == [])


def test_an_upload_that_waits_too_long_is_refused_for_now():
    free = threading.Event()

    async def crowd() -> list[object]:
        queue = FairQueue(1, 3, "test")

        async def come() -> None:
            async with queue.place("Full.", "somebody", 0.01) as threads:
                await context._in_thread(threads, free.wait)

        first = asyncio.create_task(come())
        await asyncio.sleep(0)
        refused = await asyncio.gather(*(come() for _ in range(3)), return_exceptions=True)
        free.set()
        await first
        await come()
        return refused

    refused = asyncio.run(crowd())

    assert [type(error) for error in refused] == [context.TooBusy] * 3


def test_a_body_in_crumbs_is_refused(web: Stack):
    # Given a body of chunks of a byte each: 1.8 MB of them took 20 s
    def crumbs() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'
        for byte in images.noisy_gif((300, 200), 1):
            yield bytes([byte])

    answer = web.client.post(
        "/api/gifs",
        content=crumbs(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "body_in_crumbs")


QUOTED = ";" * 29_000


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Accept", f'text/html; a="{QUOTED}'),
        ("Content-Type", f'multipart/form-data; a="{QUOTED}'),
        ("Cookie", 'a="' + '\\"' * 14_000 + '"'),
    ],
)
@pytest.mark.parametrize("path", ["/gifs", "/api/gifs"])
def test_a_header_that_takes_long_to_read_is_refused(
    web: Stack, path: str, header: str, value: str
):
    answer = web.client.post(path, content=b"", headers={header: value})

    assert answer.status_code == 431
    assert header == "Cookie" or answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "header_too_long"


def test_a_part_whose_head_takes_long_to_read_is_refused(web: Stack):
    part = f'--b\r\nContent-Disposition: form-data; name="title"; a="{";" * 7_900}\r\n\r\nx\r\n'

    answer = web.client.post(
        "/api/gifs",
        content=part.encode() * 32 + b"--b--",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "multipart_malformed")


def test_memory_is_given_back_after_many_uploads_at_once():
    memory = Memory()
    for _ in range(MANY):
        memory.taken()

    # I expect it once, although a few of them are long in coming
    assert [memory.given_back() for _ in range(MANY)].index(True) == MANY - 1 - MANY // FEW_OF
    memory.taken()
    assert not memory.given_back()
    trim()
