"""`gifster storage copy` and `gifster versions recreate`, against a running Gifster."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from gifster.uploads import LocalStorage, StorageUnavailable
from gifster.uploads.storage.copy import CopyDiffers, copy_all, journaled
from gifster.uploads.testing import MemoryStorage, keep
from tests import images
from tests.combinations import only_in_ci
from tests.machine import eventually, files_below
from tests.s3 import S3Server
from tests.stack import Stack


def hashes(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in files_below(folder)
    }


@only_in_ci("a whole installation; the others copy daily")
@pytest.mark.long
def test_a_library_moves_to_s3_while_it_is_in_use(
    new_stack: Callable[..., Stack], s3_server: S3Server
):
    # Given a library on the disk, and a bucket beside it
    bucket = s3_server.settings("store")
    stack = new_stack(**bucket | {"GIFSTER_STORE__KIND": "local"})
    web = stack.start_web()
    worker = stack.start_worker()
    ids = [stack.upload(images.gif((300, 200), [40] * n)).json()["id"] for n in (3, 4, 5)]
    done = [stack.finished(gif_id) for gif_id in ids]
    assert all(gif["state"] == "ready" for gif in done)
    files = sum(1 + len(gif["versions"]) for gif in done)

    # When it is copied, used further, switched over, and copied once more
    copy = ("gifster", "storage", "copy", "--from", "local", "--to", "s3")
    first = stack.run(*copy)
    assert (first.returncode, first.stdout) == (
        0, f"{files} copied, 0 there, 0 gone, 0 by earlier runs\n",
    ), first.stderr  # fmt: skip
    later = stack.upload(images.gif((300, 200), [40] * 6)).json()["id"]
    new = 1 + len(stack.finished(later)["versions"])
    for process in (web, worker):
        process.terminate()
        process.wait(60)
    stack.environment["GIFSTER_STORE__KIND"] = "s3"
    stack.start_web()
    stack.start_worker()
    second = stack.run(*copy)
    assert second.stdout == f"{new} copied, 0 there, 0 gone, {files} by earlier runs\n"

    # I expect every file to be there, byte for byte, and a browser to find it
    folder = s3_server.folder(bucket["GIFSTER_STORE__BUCKET"])
    assert hashes(folder) == hashes(stack.var / "store")
    for gif_id in [*ids, later]:
        gif = stack.gif(gif_id)
        content = httpx.get(gif["image"]["url"]).content
        assert hashlib.sha256(content).hexdigest() == gif["image"]["sha256"]
    last = stack.finished(stack.upload(images.gif()).json()["id"])
    assert httpx.get(last["versions"]["thumb"]["url"]).status_code == 200
    page = stack.client.get("/")
    assert s3_server.url in page.headers["Content-Security-Policy"]
    assert stack.run("gifster", "fsck", "--older-than", "0").stdout.startswith("0 abandoned")
    assert "store" in stack.run("gifster", "doctor").stdout

    # And a copy without the journal to look at the files themselves
    (stack.var / "storage-copy-local-s3.done").unlink()
    assert stack.run(*copy).stdout == f"0 copied, {files + new} there, 0 gone, 0 by earlier runs\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "s3", "--to", "s3"), "--from and --to are the same"),
        (("--from", "local", "--to", "s3"), "store.bucket is not set"),
        (("--from", "local", "--to", "ftp"), "'ftp' is not one of"),
    ],
)
def test_an_impossible_copy_is_refused(
    new_stack: Callable[..., Stack], arguments: tuple[str, ...], said: str
):
    refused = new_stack().run("gifster", "storage", "copy", *arguments)

    assert refused.returncode != 0
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unreachable_bucket_is_reported_in_one_line(new_stack: Callable[..., Stack]):
    stack = new_stack(
        GIFSTER_STORE__BUCKET="b", GIFSTER_STORE__ENDPOINT_URL="http://127.0.0.1:9",
        GIFSTER_STORE__ACCESS_KEY_ID="k", GIFSTER_STORE__SECRET_ACCESS_KEY="s",
        GIFSTER_STORE__REGION="us-east-1",
    )  # fmt: skip

    refused = stack.run("gifster", "storage", "copy", "--from", "s3", "--to", "local")

    assert refused.returncode == 1
    assert refused.stderr.startswith("gifster: S3 bucket 'b'")
    assert refused.stderr.count("\n") == 1


class Forgetful(MemoryStorage):
    """Damages the first copies."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def upload(self, source: Path, key: str, content_type: str) -> None:
        super().upload(source, key, content_type)
        if self.times:
            self.times -= 1
            self.files[key] += b"?"


def test_a_damaged_copy_is_made_again(tmp_path: Path):
    source = LocalStorage(tmp_path / "store")
    keep(source, "a.gif", b"content")
    journal = tmp_path / "journal"

    target = Forgetful(1)
    assert [copied.outcome for copied in copy_all(source, target, ["a.gif"], journal)] == ["copied"]
    assert target.files == {"a.gif": b"content"}
    assert journaled(journal, target) == {"a.gif"}

    with pytest.raises(CopyDiffers, match=r"a\.gif"):
        list(copy_all(source, Forgetful(2), ["a.gif"], tmp_path / "other"))
    assert journaled(tmp_path / "other", target) == set()


def test_a_file_deleted_meanwhile_is_no_error(tmp_path: Path):
    source = LocalStorage(tmp_path / "store")
    keep(source, "b.gif", b"another one")

    target = MemoryStorage()
    [copied] = copy_all(source, target, ["a.gif"], tmp_path / "journal")

    assert copied.outcome == "gone"
    assert journaled(tmp_path / "journal", target) == set()


def test_files_whose_disk_goes_away_meanwhile_are_not_deleted(tmp_path: Path):
    source = LocalStorage(tmp_path / "store")
    for key in ("a.gif", "b.gif"):
        keep(source, key, b"content")
    copies = copy_all(source, MemoryStorage(), ["a.gif", "b.gif"], tmp_path / "journal", threads=1)
    shutil.rmtree(source.root)

    with pytest.raises(StorageUnavailable, match="is its disk mounted"):
        list(copies)


@pytest.mark.parametrize("is_mount_point", [False, True])
def test_a_store_whose_disk_is_away_is_not_copied_as_an_empty_one(
    new_stack: Callable[..., Stack], tmp_path: Path, is_mount_point: bool
):
    stack = new_stack(GIFSTER_STORE__URL=f"file://{tmp_path}/target")
    if is_mount_point:
        (stack.var / "store").mkdir()

    refused = stack.run("gifster", "storage", "copy", "--from", "local", "--to", "fsspec")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is its disk mounted?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_that_the_disk_cannot_read_keeps_no_other_one_from_being_copied(tmp_path: Path):
    source, target = LocalStorage(tmp_path / "store"), MemoryStorage()
    for key in ("a.gif", "c.gif"):
        keep(source, key, b"content")
    (tmp_path / "store" / "b.gif").symlink_to("b.gif")
    keys, journal = ["a.gif", "b.gif", "c.gif"], tmp_path / "journal"

    copied = list(copy_all(source, target, keys, journal))

    assert [each.outcome for each in copied] == ["copied", "unread", "copied"]
    assert copied[1].reason == "Too many levels of symbolic links"
    assert journaled(journal, target) == {"a.gif", "c.gif"}


def test_versions_are_made_again_from_the_command_line(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.start_web()
    worker = stack.start_worker()
    ids = [stack.upload(images.gif((300, 200))).json()["id"] for _ in range(3)]
    before = [stack.finished(gif_id)["versions"]["thumb"]["url"] for gif_id in ids]

    one = stack.run("gifster", "versions", "recreate", ids[0], "--only", "thumb")
    assert (one.returncode, one.stdout) == (0, "1 job enqueued, 0 were waiting already\n")
    every = stack.run("gifster", "versions", "recreate")
    assert (every.returncode, every.stdout) == (0, "3 jobs enqueued, 0 were waiting already\n")

    after = [stack.gif(gif_id)["versions"]["thumb"]["url"] for gif_id in ids]
    assert not set(before) & set(after)
    assert all(stack.client.get(url).status_code == 200 for url in after)
    each = 1 + len(stack.gif(ids[0])["versions"])  # the files of one GIF
    eventually(lambda: len(files_below(stack.var / "store")) == 3 * each)
    unknown = stack.run("gifster", "versions", "recreate", "--only", "huge")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("gifster: ImageUploader has no version 'huge'")

    # And to hear why nothing happens, while the queue is paused and without a worker
    stack.run("gifster", "jobs", "pause", "carrierwave")
    paused = stack.run("gifster", "versions", "recreate", ids[0], "--no-wait")
    assert "until gifster jobs resume carrierwave" in paused.stderr
    stack.run("gifster", "jobs", "resume", "carrierwave")
    worker.terminate()
    worker.wait()
    alone = stack.run("gifster", "versions", "recreate", ids[1], "--no-wait")
    assert "no worker takes jobs from carrierwave: they wait until one is started" in alone.stderr


def test_versions_that_cannot_be_made_are_listed(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.start_web()
    stack.start_worker()
    gif_id = stack.upload(images.gif((300, 200))).json()["id"]
    stack.finished(gif_id)
    original = stack.gif(gif_id)["image"]["url"].partition("/media/")[2]
    (stack.var / "store" / original).write_bytes(b"GIF89a, and then no more")

    failed = stack.run("gifster", "versions", "recreate")

    assert failed.returncode == 1
    assert "The stored original has changed" in failed.stderr
    assert stack.gif(gif_id)["state"] == "ready"
    assert stack.client.get(stack.gif(gif_id)["versions"]["thumb"]["url"]).status_code == 200


def test_a_copy_has_all_files_whichever_target_had_them_before(
    new_stack: Callable[..., Stack], tmp_path: Path
):
    # Given a file that was copied into another place
    stack = new_stack()
    keep(LocalStorage(stack.var / "store"), "gifs/a/b/a.gif", b"content")
    copy = ("gifster", "storage", "copy", "--from", "local", "--to", "fsspec")

    for name in ("first", "second", "second"):
        # When it is copied into a new place, and into one that was emptied since
        target = tmp_path / name
        shutil.rmtree(target, ignore_errors=True)
        stack.environment["GIFSTER_STORE__URL"] = f"file://{target}"
        assert stack.run(*copy).stdout == "1 copied, 0 there, 0 gone, 0 by earlier runs\n"

        # I expect it to be there
        assert files_below(target) == ["gifs/a/b/a.gif"]
    assert stack.run(*copy).stdout == "0 copied, 0 there, 0 gone, 1 by earlier runs\n"
