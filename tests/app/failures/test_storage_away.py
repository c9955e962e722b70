"""S3 is away, a disk full, or no file can be opened: an upload is refused with a clear message, or
stored later."""

import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gifster.uploads import S3Storage
from tests import images, s3
from tests.app import small_disks
from tests.machine import children, eventually, files_below, free_port
from tests.stack import Stack
from tests.tus import Tus


def settings(section: str, port: int) -> dict[str, str]:
    return s3.settings(section, "gifs", f"http://127.0.0.1:{port}")


def test_an_upload_that_cannot_be_cached_is_refused(new_stack: Callable[..., Stack]):
    stack = new_stack(**settings("cache", free_port()))
    stack.start_web()

    refused = stack.upload(images.gif())

    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert refused.headers["Retry-After"] == "30"
    assert stack.client.get("/api/gifs").json()["items"] == []
    assert files_below(stack.folder / "tmp") == []
    doctor = stack.run("gifster", "doctor")
    assert doctor.returncode == 1
    assert "cache" in doctor.stdout
    assert "FAILS" in doctor.stdout


def test_resumable_uploads_into_a_bucket_that_hangs_hold_up_nobody_else(
    new_stack: Callable[..., Stack],
):
    # Given a bucket that takes connections and never answers, and more uploads than threads
    with socket.create_server(("127.0.0.1", 0)) as hanging, ThreadPoolExecutor(4) as clients:
        stack = new_stack(**settings("cache", hanging.getsockname()[1]), GIFSTER_WEB__THREADS="2")
        stack.start_web()
        tus = Tus(
            lambda method, path, **options: httpx.request(
                method, f"{stack.client.base_url}/api/uploads{path}", timeout=120, **options
            ),
            "",
        )
        content = images.gif()
        uploads = [clients.submit(tus.create, len(content), content[:-1]) for _ in range(4)]
        hanging.settimeout(60)
        waiting = [hanging.accept() for _ in range(2)]

        # When somebody looks at the gallery, I expect an answer
        assert stack.client.get("/api/gifs").status_code == 200
        assert not any(upload.done() for upload in uploads)

        for connection, _ in waiting:
            connection.close()
        hanging.close()
        assert {upload.result().status_code for upload in uploads} == {503}


def test_an_upload_is_stored_when_the_store_is_back(
    new_stack: Callable[..., Stack], tmp_path: Path
):
    # Given a store that is away when an upload is accepted, and when a worker tries
    port = free_port()
    stack = new_stack(**settings("store", port))
    stack.start_web()
    stack.start_worker()
    accepted = stack.upload(images.gif())
    assert accepted.status_code == 202
    gif_id = accepted.json()["id"]
    eventually(lambda: " fail actor=store_asset" in stack.log("dramatiq-gifster.actors"))
    assert stack.gif(gif_id)["state"] in ("queued", "processing")

    # When it comes back
    (tmp_path / "s3").mkdir()
    with s3.running(tmp_path / "s3", port) as server:
        bucket: S3Storage = server.storage("gifs")
        done = stack.finished(gif_id)

        assert done["state"] == "ready"
        assert len(list(bucket.walk())) == 1 + len(done["versions"])
        eventually(lambda: files_below(stack.var / "cache") == [])


def test_a_web_process_without_file_descriptors_says_come_again(new_stack: Callable[..., Stack]):
    # Given a web process that has served an upload, and gets no more descriptors than it has
    stack = new_stack()
    web = stack.start_web()
    first = stack.upload(images.gif())
    [process] = children(web.pid)
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    few = len(list(Path(f"/proc/{process}/fd").iterdir()))
    resource.prlimit(process, resource.RLIMIT_NOFILE, (few, before[1]))

    refused = [stack.upload(images.gif((50, 40))), stack.client.get("/")]
    resource.prlimit(process, resource.RLIMIT_NOFILE, before)
    second = stack.upload(images.gif((50, 40)))

    assert [answer.status_code for answer in refused] == [503, 503]
    assert refused[0].json()["code"] == "too_busy"
    assert "Retry-After" in refused[0].headers
    assert "Traceback" not in stack.log("gifster-web")
    assert len(files_below(stack.var / "cache")) == 2
    assert {first.status_code, second.status_code} == {202}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disks.mounted(folder, "size=1m") as made:
        yield made


def test_a_full_cache_is_reported_and_takes_smaller_files(
    new_stack: Callable[..., Stack], small_disk: Path
):
    stack = new_stack(GIFSTER_CACHE__ROOT=str(small_disk))
    stack.start_web()

    refused = stack.upload(images.noisy_gif((1000, 500), 4))
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    assert files_below(small_disk) == []
    assert stack.client.get("/api/gifs").json()["items"] == []

    assert stack.upload(images.gif()).status_code == 202


def test_a_cache_that_has_become_read_only_is_away(
    new_stack: Callable[..., Stack], small_disk: Path
):
    # Given a disk that the system has remounted read-only after an error
    stack = new_stack(GIFSTER_CACHE__ROOT=str(small_disk))
    stack.start_web()
    small_disks.remount(small_disk, "ro")

    refused = stack.upload(images.gif())

    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert refused.headers["Retry-After"] == "30"
    assert "Read-only file system" in stack.log("gifster-web")
    assert "Traceback" not in stack.log("gifster-web")

    # When it is mended
    small_disks.remount(small_disk, "rw")
    assert stack.upload(images.gif()).status_code == 202


def test_a_cache_that_may_not_be_written_is_away(new_stack: Callable[..., Stack]):
    # Given a cache whose folder somebody has closed; root has to be kept out by other means
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        stack = new_stack(GIFSTER_CACHE__ROOT=folder)
        stack.start_web()
        with closed(Path(folder)):
            refused = stack.upload(images.gif())

        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
        assert folder in stack.log("gifster-web")
        assert "Traceback" not in stack.log("gifster-web")
        assert stack.upload(images.gif()).status_code == 202


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    if os.geteuid():
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    done = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing is closed to root here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def test_a_full_store_delays_an_upload_and_loses_nothing(
    new_stack: Callable[..., Stack], small_disk: Path
):
    stack = new_stack(GIFSTER_STORE__ROOT=str(small_disk))
    (small_disk / "ballast").write_bytes(bytes(1020 * 1024))  # so that no version fits
    stack.start_web()
    stack.start_worker()
    gif_id = stack.upload(images.noisy_gif((120, 120), 4)).json()["id"]
    eventually(lambda: "No space left on device" in stack.log("dramatiq-gifster.actors"))
    eventually(lambda: files_below(small_disk) == ["ballast"])

    (small_disk / "ballast").unlink()

    assert stack.finished(gif_id)["state"] == "ready"


def test_nothing_is_written_in_the_place_of_a_cache_that_is_away(new_stack: Callable[..., Stack]):
    # Given an upload that waits in a cache whose disk is away: its mount point is left
    stack = new_stack()
    stack.start_web()
    waiting = stack.upload(images.gif()).json()["id"]
    cache, disk = stack.var / "cache", stack.folder / "disk"
    cache.rename(disk)
    cache.mkdir()

    # When more uploads come, somebody looks what is wrong, and a worker tries to store it
    refused = stack.upload(images.gif((50, 40)))
    begun = Tus(
        lambda method, path, **options: stack.client.request(
            method, f"/api/uploads{path}", **options
        ),
        "",
    ).create(1000, images.gif()[:500])
    doctor = stack.run("gifster", "doctor")
    stack.start_worker()
    eventually(lambda: " fail actor=store_asset" in stack.log("dramatiq-gifster.actors"))

    # I expect the folder to be empty still: the upload would count as lost
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert begun.status_code == 503
    assert "cache" in doctor.stdout
    assert "is its disk mounted?" in " ".join(doctor.stdout.split())
    assert list(cache.iterdir()) == []
    assert "is its disk mounted?" in stack.log("gifster-web")
    assert stack.gif(waiting)["state"] == "processing"

    # When the disk is back
    cache.rmdir()
    disk.rename(cache)
    assert stack.finished(waiting)["state"] == "ready"
    assert stack.upload(images.gif((50, 40))).status_code == 202


def test_nothing_is_written_in_the_place_of_a_store_that_is_away(new_stack: Callable[..., Stack]):
    # Given a library whose disk is away
    stack = new_stack()
    stack.start_web()
    stack.start_worker()
    first = stack.finished(stack.upload(images.gif()).json()["id"])
    store, disk = stack.var / "store", stack.folder / "disk"
    store.rename(disk)
    store.mkdir()

    second = stack.upload(images.gif((50, 40))).json()["id"]
    eventually(lambda: " fail actor=store_asset" in stack.log("dramatiq-gifster.actors"))

    assert list(store.iterdir()) == []
    assert stack.client.get(first["image"]["url"]).status_code == 503
    assert stack.client.get("/static/nothing.css").status_code == 404

    # When the disk is back
    store.rmdir()
    disk.rename(store)
    assert stack.finished(second)["state"] == "ready"
    assert stack.client.get(first["image"]["url"]).status_code == 200
    assert stack.client.get(first["image"]["url"].replace("original", "nothing")).status_code == 404
