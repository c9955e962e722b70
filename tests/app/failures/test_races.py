"""Races, with real workers: on folders with SQLite, and on S3 with PostgreSQL.

Uploads are replaced and deleted at all moments of their processing; jobs come twice; a worker
stands still in the middle of its work while another takes it over. At the end the newest is stored,
and the storages have the files that the rows name and nothing else.
"""

import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from gifster.uploads import LocalStorage
from gifster.uploads.testing import keep
from tests import images
from tests.conftest import Platform
from tests.machine import eventually, examples, files_below, signal_group
from tests.stack import Stack

NEW_WIDTH = 320


@pytest.fixture
def stack(platform: Platform, new_stack: Callable[..., Stack]) -> Stack:
    variables = {
        "GIFSTER_WORKER__LEASE_S": "2",
        "GIFSTER_DATABASE__URL": platform.database_url,
    }
    if platform.s3 is not None:
        variables |= platform.s3.settings("cache") | platform.s3.settings("store")
    running = new_stack(**variables)
    running.start_web()
    return running


def kept(stack: Stack, request: pytest.FixtureRequest, name: str) -> list[str]:
    """The files of a storage, read from the disk that they are on in the end."""
    bucket = stack.environment.get(f"GIFSTER_{name.upper()}__BUCKET")
    if bucket is None:
        return files_below(stack.var / name)
    files = files_below(request.getfixturevalue("s3_server").folder(bucket))
    # What rclone got of a put that was cut off. S3 keeps nothing of one.
    return [file for file in files if ".rclone_temp_put_" not in file]


def named(stack: Stack) -> list[str]:
    """The files that the API names, as `folder/name`."""
    gifs, cursor = [], ""
    while cursor is not None:
        page = stack.client.get("/api/gifs", params={"limit": 100, "cursor": cursor}).json()
        gifs, cursor = gifs + page["items"], page["next"]
    urls = [
        item["url"]
        for gif in gifs
        if gif["image"]
        for item in [gif["image"], *gif["versions"].values()]
    ]
    return sorted("/".join(url.partition("?")[0].split("/")[-2:]) for url in urls)


def assert_clean(stack: Stack, request: pytest.FixtureRequest) -> None:
    """Whether, when all work is done, nothing is missing and nothing is left."""

    seen: tuple[list[str], list[str], list[str]] = ([], [], [])

    def clean() -> bool:
        nonlocal seen
        files = sorted("/".join(f.split("/")[-2:]) for f in kept(stack, request, "store"))
        seen = kept(stack, request, "cache"), files, named(stack)
        return seen[0] == [] and files == seen[2]

    try:
        eventually(clean)
    except AssertionError:
        raise AssertionError(
            f"cache: {seen[0]}; store: {seen[1]}; named: {seen[2]}; "
            f"worker:\n{stack.log('dramatiq-gifster.actors')}"
        ) from None
    assert stack.run("gifster", "jobs", "list").stdout == "no jobs: everything is done\n"


def replace(stack: Stack, gif_id: str) -> httpx.Response:
    content = images.gif((NEW_WIDTH, 200))
    return stack.client.put(
        f"/api/gifs/{gif_id}/image", files={"image": ("new.gif", content, "image/gif")}
    )


@pytest.mark.long
def test_uploads_changed_at_any_moment(stack: Stack, request: pytest.FixtureRequest):
    stack.start_worker()
    stack.start_worker()
    chance = random.Random(11)

    def one(number: int, delay_s: float, fate: str) -> tuple[str, str]:
        from threading import Event

        gif_id = stack.upload(images.gif((300, 200), [40] * (4 + number % 20))).json()["id"]
        Event().wait(delay_s)
        if fate == "replaced":
            assert replace(stack, gif_id).status_code == 202
        elif fate == "deleted":
            assert stack.client.delete(f"/api/gifs/{gif_id}").status_code == 204
        return gif_id, fate

    with ThreadPoolExecutor(4) as clients:
        started = [
            clients.submit(
                one, number, chance.uniform(0, 0.4), chance.choice(["replaced", "deleted", "kept"])
            )
            for number in range(examples(8, of=24))
        ]
        outcomes = [future.result() for future in started]

    for gif_id, fate in outcomes:
        if fate == "deleted":
            assert stack.client.get(f"/api/gifs/{gif_id}").status_code == 404
        else:
            done = stack.finished(gif_id)
            assert (done["state"], done["error"]) == ("ready", None)
            width = NEW_WIDTH if fate == "replaced" else 300
            eventually(lambda i=gif_id, w=width: stack.gif(i)["image"]["width"] == w)
    assert_clean(stack, request)
    assert " fail " not in stack.log("dramatiq-gifster.actors")


@pytest.mark.long
@pytest.mark.parametrize("fate", ["replaced", "deleted", "kept"][: examples(1, of=3)])
def test_a_worker_that_stood_still_undoes_nothing(
    stack: Stack, request: pytest.FixtureRequest, fate: str
):
    # Given a worker that stands still in the middle of an upload, longer than its lease
    stack.start("gifster", "scheduler")
    gif_id = stack.upload(images.noisy_gif((500, 400), 40)).json()["id"]
    sleeper = stack.start_worker()
    eventually(lambda: stack.gif(gif_id)["state"] == "processing")
    signal_group(sleeper, signal.SIGSTOP)
    try:
        assert stack.gif(gif_id)["state"] == "processing"

        # When the upload is superseded, or taken over by another worker
        if fate == "replaced":
            replace(stack, gif_id)
        elif fate == "deleted":
            stack.client.delete(f"/api/gifs/{gif_id}")
        stack.start_worker()
        if fate != "deleted":
            done = stack.finished(gif_id)
            assert done["state"] == "ready"
    finally:
        signal_group(sleeper, signal.SIGCONT)

    # Then the sleeper wakes up to find that it has lost
    eventually(lambda: "actor=store_asset" in (stack.log("dramatiq-gifster.actors")))
    assert_clean(stack, request)
    if fate != "deleted":
        now = stack.gif(gif_id)
        assert now["state"] == "ready"
        assert now["image"]["width"] == (NEW_WIDTH if fate == "replaced" else 500)
        assert now == done | {"image": now["image"], "versions": now["versions"]}


def test_jobs_that_come_twice_are_done_once(stack: Stack, request: pytest.FixtureRequest):
    # Given every message twice, and once more when all is done
    ids = [stack.upload(images.gif((300, 200))).json()["id"] for _ in range(6)]
    broker = redis.Redis.from_url(stack.environment["GIFSTER_BROKER__URL"])
    # An upload is answered when its job is on the disk, and its message may come a moment later.
    eventually(lambda: broker.hlen("dramatiq:carrierwave.msgs") == 6)
    messages = broker.hgetall("dramatiq:carrierwave.msgs")
    again(broker, messages, "twice")
    stack.start_worker()
    for gif_id in ids:
        assert stack.finished(gif_id)["state"] == "ready"
    again(broker, messages, "later")
    eventually(lambda: stack.log("dramatiq-gifster.actors").count(" skip actor=store_asset") >= 12)

    assert_clean(stack, request)
    assert stack.log("dramatiq-gifster.actors").count(" done actor=store_asset") == 6


def again(broker: Any, messages: dict[bytes, bytes], mark: str) -> None:
    for key, message in messages.items():
        copy = key + mark.encode()
        broker.hset("dramatiq:carrierwave.msgs", copy, message.replace(key, copy))
        broker.rpush("dramatiq:carrierwave", copy)


@pytest.mark.parametrize("fate", ["missing", "changed"])
def test_a_cached_file_that_is_not_what_it_was_is_said_so(
    stack: Stack, request: pytest.FixtureRequest, fate: str
):
    gif_id = stack.upload(images.gif((300, 200))).json()["id"]
    bucket = stack.environment.get("GIFSTER_CACHE__BUCKET")
    storage: Any = LocalStorage(stack.var / "cache")
    if bucket is not None:
        storage = request.getfixturevalue("s3_server").storage(bucket)
    [(key, _)] = list(storage.walk())
    if fate == "missing":
        storage.delete(key)
    else:
        keep(storage, key, b"<html><script>alert(1)</script></html>")

    stack.start_worker()

    failed = stack.finished(gif_id)
    assert (failed["state"], failed["error"]["code"]) == ("failed", f"cache_file_{fate}")
    assert_clean(stack, request)
