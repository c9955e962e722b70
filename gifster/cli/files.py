"""Commands about files: `fsck`, `versions`, `storage`."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gifster.app.numbers import counted
from gifster.cli.root import (
    Refused,
    check_installation,
    cli,
    connect_our_broker,
    open_database,
    progress,
    say,
    settings_here,
    taken_queues,
    text,
)

if TYPE_CHECKING:
    from gifster.jobs import Job
    from gifster.uploads.sweep import Findings


@cli.command()
@click.option(
    "--repair", is_flag=True, help="Remove abandoned and unknown files, enqueue stuck jobs."
)
@click.option(
    "--force",
    is_flag=True,
    help="With --repair: also remove more than 100 files and a tenth of a storage.",
)
@click.option(
    "--older-than",
    type=click.IntRange(0),
    default=3600,
    show_default=True,
    help="Leave younger files alone (seconds): uploads may be under way.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Also read every stored file. With --repair: make damaged and missing versions again.",
)
def fsck(repair: bool, force: bool, older_than: int, deep: bool) -> None:
    """Compare the files with the database, and list the differences.

    --repair removes only files that Gifster wrote and that no row names. The command lists the
    files that it leaves alone, and why: files that Gifster did not write, and files that it could
    not judge. It removes nothing from a storage where that would be more than 100 files and more
    than one in ten; --force does. The scheduler runs the same every hour, with --repair and without
    --force.

    --deep reads every stored file, and compares its size and SHA-256 with those in the database. It
    never removes a damaged original: restore it from a backup.

    The exit status is 0 if everything fits, or was repaired; 1 if something is left to do or could
    not be read; 2 if the options make no sense. Files that Gifster did not write do not count.
    """
    from gifster.uploads.sweep import sweep

    if force and not repair:
        raise click.UsageError("--force needs --repair: without --repair, fsck removes nothing")
    settings = settings_here()
    if repair:
        connect_our_broker(settings)
    with open_database(settings):
        found = sweep(repair=repair, min_age_s=older_than, force=force)
        if deep:
            _read_files(found, repair)
    for kind, meaning, mends in (
        ("abandoned", "in the cache, and no row waits for it", True),
        ("orphans", "stored, and no row names it", True),
        ("stuck", "waits, and has no job", True),
        ("missing", "a row names it, and it does not exist", False),
    ):
        for item in getattr(found, kind):
            held = found.is_braked(item.partition(":")[0])
            mended = " (mended)" if repair and mends and not held else ""
            say(f"{kind:<10} {item}  {meaning}{mended}")
    for item in found.damaged:
        say(f"{'damaged':<10} {item}")
    for left in found.left_alone:
        say(f"left alone {left}")
    counts = found.counts()
    say(", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items()))
    no_fault = {"left_alone", *(("abandoned", "orphans", "stuck") if repair else ())}
    sys.exit(1 if any(count for kind, count in counts.items() if kind not in no_fault) else 0)


def _read_files(found: "Findings", repair: bool) -> None:
    """Read all stored files; with `repair`, have a worker make bad versions again."""
    from gifster.app import file_checks
    from gifster.app.models import Gif
    from gifster.uploads import StorageUnavailable
    from gifster.uploads.sweep import Why

    total = Gif.select().where(Gif.image.is_null(False)).count()
    try:
        for gif, bad in progress("reading", file_checks.check_all(), total):
            jobs = file_checks.recreate(gif, bad) if repair and bad else 0
            for file in bad:
                if not file.missing:
                    made = jobs and file.version is not None
                    what = f"the version {file.version}" if file.version else "the original"
                    again = "; a worker makes it again" if made else ""
                    line = f"{file.storage}:{file.key}  {what}: {file.reason}{again}"
                    found.damaged.append(line)
    except (OSError, StorageUnavailable) as error:
        found.leave("stored files", Why.UNREAD, f"their content could not be read: {error}")


@cli.group()
def versions() -> None:
    """Make the versions of images again, such as thumbnails."""


@versions.command("recreate")
@click.argument("ids", nargs=-1, type=text)
@click.option("--only", multiple=True, metavar="VERSION", help="Only this version (repeatable).")
@click.option("--no-wait", is_flag=True, help="Enqueue the jobs, and do not wait for them.")
def versions_recreate(ids: tuple[str, ...], only: tuple[str, ...], no_wait: bool) -> None:
    """Make versions again, as background jobs.

    Without IDS, it makes those of all GIFs. It needs running workers. Ctrl-C ends the waiting, and
    the jobs go on. You can run the command again at any time.
    """
    from gifster.app.models import Gif
    from gifster.uploads.backgrounding.recreate import recreate_each

    settings = settings_here()
    connect_our_broker(settings)
    with open_database(settings):
        where = Gif.id.in_(ids) if ids else None
        try:
            found = recreate_each(Gif.image, only, where)
        except LookupError as error:
            raise Refused(str(error)) from None
        known = {gif.id for gif in Gif.select(Gif.id).where(where)} if ids else set()
        for gif_id in ids:
            if gif_id not in known:
                raise Refused(f"there is no GIF {gif_id}")
        total = Gif.select().where(Gif.image.is_null(False), *([where] if ids else [])).count()
        jobs = {
            job.id: job.queue for job in progress("enqueueing", found, total) if job is not None
        }
        waiting = total - len(jobs)
        were = "was" if waiting == 1 else "were"
        say(f"{counted(len(jobs), 'job')} enqueued, {waiting:,} {were} waiting already")
        _warn_of_waiting(set(jobs.values()))
        dead = [] if no_wait else list(_wait_for(set(jobs)))
    for job in dead:
        say(f"failed {job.id}: {job.error}", err=True)
    sys.exit(1 if dead else 0)


def _warn_of_waiting(queues: set[str]) -> None:
    """Say why jobs of these queues wait, if nobody takes them now."""
    from gifster.jobs import paused_queues

    paused = paused_queues()
    for queue in sorted(queues & paused):
        say(f"{queue} is paused: the jobs wait until gifster jobs resume {queue}", err=True)
    for queue in sorted(queues - paused - taken_queues()):
        say(f"no worker takes jobs from {queue}: they wait until one is started", err=True)


def _wait_for(ids: set[str]) -> "Iterator[Job]":
    """Wait for jobs, with a progress bar. Returns the dead ones."""
    import time

    from rich.console import Console
    from rich.progress import Progress

    from gifster.jobs import Job

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("making versions", total=len(ids))
        began = time.monotonic()
        while left := ids & {job.id for job in Job.select(Job.id).where(Job.failed_at.is_null())}:
            progress.update(task, completed=len(ids) - len(left))
            # Of 100,000 jobs, looking takes a second itself: leave the database to the workers.
            time.sleep(max(0.25, 20 * (time.monotonic() - began)))
            began = time.monotonic()
        progress.update(task, completed=len(ids))
    dead: Any = Job.select(Job.id, Job.error).where(Job.failed_at.is_null(False))
    yield from (job for job in dead.iterator() if job.id in ids)


@cli.group()
def storage() -> None:
    """Move stored files between this machine, S3 and other storages."""


KINDS = click.Choice(["local", "s3", "fsspec"])


@storage.command("copy")
@click.option("--from", "source", type=KINDS, required=True, help="Where the files are.")
@click.option("--to", "target", type=KINDS, required=True, help="Where to copy them.")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="How many files to copy at once.",
)
def storage_copy(source: str, target: str, threads: int) -> None:
    """Copy all stored files from one storage to another.

    Gifster may run. The settings in [store] describe them all: root is the folder, bucket and its
    keys are S3, url is a file system of fsspec, and kind says which one is in use. Copy, then
    change kind and restart, then copy once more: the second run copies files that were stored in
    between. Each file is read back and compared. A run that was stopped continues where it was: it
    leaves out the files that are both in the target and in the list of copied files,
    var/storage-copy-….done.

    The exit status is 1 if a file cannot be read; each is listed, and all others are copied.
    """
    from pathlib import Path

    from gifster.app.boot import storage as storage_for
    from gifster.uploads import StorageUnavailable
    from gifster.uploads.storage.base import Listing, check_present
    from gifster.uploads.storage.copy import CopyDiffers, copy_all, journaled

    if source == target:
        raise click.UsageError(f"--from and --to are the same ({source}): name two different ones")
    settings = settings_here()
    check_installation(settings)
    store = settings.store
    if "s3" in (source, target) and not store.bucket:
        raise Refused("store.bucket is not set: name the bucket (GIFSTER_STORE__BUCKET)")
    if "fsspec" in (source, target) and not store.url:
        raise Refused("store.url is not set: name the file system (GIFSTER_STORE__URL)")
    kept, goal = (storage_for(store.model_copy(update={"kind": kind})) for kind in (source, target))
    journal = Path(f"var/storage-copy-{source}-{target}.done")
    outcomes = {"copied": 0, "there": 0, "gone": 0, "unread": 0}
    try:
        if not isinstance(kept, Listing) or not isinstance(goal, Listing):
            raise Refused(f"the files of the storages {source} and {target} cannot be listed")
        check_present(kept)
        before = journaled(journal, goal)
        keys = sorted(key for key, _ in kept.walk() if key not in before)
        copies = copy_all(kept, goal, keys, journal, threads)
        for copied in progress("copying", copies, len(keys)):
            outcomes[copied.outcome] += 1
            if copied.outcome == "unread":
                say(f"{source}:{copied.key} cannot be read: {copied.reason}", err=True)
    except (CopyDiffers, StorageUnavailable, OSError) as error:
        raise Refused(f"{error}. Run it again: it continues after the copied files.") from None
    unread = outcomes.pop("unread")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    say(f"{counts}, {len(before)} by earlier runs" + (f"; {unread} not read" if unread else ""))
    sys.exit(1 if unread else 0)
