"""`gifster import` and `gifster export`, with a worker."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from gifster.uploads.storage.temporaries import lock
from tests import images
from tests.stack import Stack


def test_pictures_go_in_and_out(new_stack: Callable[..., Stack], tmp_path: Path):
    # Given a library, and a folder with two pictures and a text that pretends to be one
    stack = new_stack()
    stack.start_worker()
    folder = tmp_path / "pictures" / "Cats"
    folder.mkdir(parents=True)
    (folder / "one.gif").write_bytes(images.gif(durations=[40] * 2))
    (folder / "two.gif").write_bytes(images.gif(durations=[40] * 3))
    (folder / "three.gif").write_text("words")

    # When they are imported twice
    command = ("gifster", "import", "--tag", "old", str(folder.parent))
    first, second = stack.run(*command), stack.run(*command)

    # I expect each once, and to be told about the text
    assert first.stdout == "2 added, 0 in the library already, 1 refused\n", first.stderr
    assert second.stdout == "0 added, 2 in the library already, 1 refused\n", second.stderr
    assert (first.returncode, second.returncode) == (1, 1)
    assert f"refused {folder / 'three.gif'}: " in first.stderr

    # And a worker to have stored them, with their folder as a tag
    stack.start_web()
    gifs = stack.client.get("/api/gifs").json()["items"]
    assert [gif["title"] for gif in gifs] == ["two", "one"]
    assert all(stack.finished(gif["id"])["state"] == "ready" for gif in gifs)
    assert gifs[0]["tags"] == ["cats", "old"]

    # And an export to have both, once, in a file that only this user can read
    target = tmp_path / "all.zip"
    assert stack.run("gifster", "export", str(target)).returncode == 0
    assert target.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(target) as archive:
        names = sorted(archive.namelist())
        assert [name.partition("-")[0] for name in names] == ["one", "one", "two", "two"]
        assert archive.read(names[0]) == (folder / "one.gif").read_bytes()
        assert json.loads(archive.read(names[1]))["tags"] == ["cats", "old"]
    again = stack.run("gifster", "export", str(target))
    assert again.returncode == 1
    assert again.stderr == (
        f"gifster: {target} is there already: choose another name, or use --force\n"
    )


def test_it_says_what_it_cannot_do(new_stack: Callable[..., Stack], tmp_path: Path):
    stack = new_stack()
    (tmp_path / "empty").mkdir()

    for command, said in (
        (("import", "nowhere"), "nowhere: No such file or directory"),
        (("import", "empty"), "there are no pictures in empty"),
        (("import", "empty", "--user", "a@example.org"), "gifster: there is no account"),
        (("import", "empty", "--tag", "x" * 51), "gifster: a tag has at most 50 characters"),
        (("export", "nowhere/all.zip"), "nowhere/all.zip cannot be written: No such file"),
    ):
        run = stack.run("gifster", *command)
        assert run.returncode == 1, command
        assert said in run.stderr
        assert "Traceback" not in run.stderr


def test_an_import_says_that_the_cache_is_away(new_stack: Callable[..., Stack], tmp_path: Path):
    stack = new_stack(
        GIFSTER_CACHE__KIND="s3",
        GIFSTER_CACHE__BUCKET="cache",
        GIFSTER_CACHE__ENDPOINT_URL="http://127.0.0.1:1",
        GIFSTER_CACHE__ACCESS_KEY_ID="key",
        GIFSTER_CACHE__SECRET_ACCESS_KEY="secret",
    )
    (tmp_path / "one.gif").write_bytes(images.gif())

    done = stack.run("gifster", "import", str(tmp_path / "one.gif"))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    *_, said = done.stderr.splitlines()
    assert said.startswith("gifster: a storage is away: S3 bucket 'cache': Could not connect")


def test_an_export_removes_what_a_killed_one_has_left(
    new_stack: Callable[..., Stack], tmp_path: Path
):
    # Given parts of exports: of one that was killed, one that runs, one of another file, and a file
    # of somebody else's
    stack = new_stack()
    left, running, other, foreign = (
        tmp_path / name
        for name in (".all.zip.0123abcd", ".all.zip.00000000", ".b.zip.0123abcd", ".all.zip.part")
    )
    for path in (left, running, other, foreign):
        path.touch()
        os.utime(path, (1, 1))

    with running.open("rb") as used:
        lock(used.fileno())
        done = stack.run("gifster", "export", "all.zip")

    assert done.returncode == 0, done.stderr
    assert [path.exists() for path in (left, running, other, foreign)] == [False, True, True, True]
    refused = stack.run("gifster", "export", "var", "--force")
    assert refused.stderr == "gifster: var is a folder: name a file\n"
