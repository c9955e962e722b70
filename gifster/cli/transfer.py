"""Many GIFs in and out: `import`, `export`."""

import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from gifster.cli.root import (
    Refused,
    cli,
    connect_our_broker,
    open_database,
    path,
    progress,
    refusal,
    say,
    settings_here,
    text,
)

if TYPE_CHECKING:
    from gifster.app.models import User
    from gifster.app.transfer.sources import Found

#: An export that has written nothing for so long, and that no process writes, was killed (seconds).
LEFT_S = 3600


@cli.command("import")
@click.argument("paths", nargs=-1, required=True, type=path, metavar="PATH…")
@click.option("--user", "address", type=text, help="The e-mail address of their owner's account.")
@click.option("--tag", "tags", multiple=True, type=text, help="A tag for each; can be repeated.")
@click.option(
    "--folder-tags/--no-folder-tags",
    default=True,
    show_default=True,
    help="Whether the names of folders become tags.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be tried.")
def import_(
    paths: tuple[Path, ...], address: str | None, tags: tuple[str, ...], folder_tags: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    """Add pictures: files, whole folders, zips, lists of URLs.

    A file whose name ends in .txt or .urls is a list of URLs, one a line. In folders and zips, the
    command tries files whose names end like those of pictures and videos.

    A picture's title is the name of its file, and the folders that it lies in are its tags. If
    there is a cat.gif.json or cat.json beside cat.gif, it counts instead: a JSON object with title,
    tags, alt_text, rating and visibility, as gifster export and gallery-dl write it.

    A file that the library has already is not added again. So start an interrupted import again:
    it goes on where it ended. Quotas do not count. Workers make the versions; nothing waits for
    them.

    The exit status is 0 if the library has all pictures, and 1 if one was refused. The command
    prints the reasons.
    """
    settings = settings_here()
    connect_our_broker(settings)
    from gifster.app import texts
    from gifster.app.transfer.importing import What, add_all

    with _refusals(), open_database(settings):
        owner = _owner(address)
        own_tags = texts.tag_names(tags)
        found = _found(paths, folder_tags)
        if dry_run:
            for each in found:
                say(each.name)
            return
        counts: Counter[What] = Counter()
        for outcome in progress("importing", add_all(found, owner, own_tags), len(found)):
            counts[outcome.what] += 1
            if outcome.what is What.REFUSED:
                say(f"refused {outcome.name}: {outcome.reason}", err=True)
    say(
        f"{counts[What.ADDED]:,} added, {counts[What.KNOWN]:,} in the library already, "
        f"{counts[What.REFUSED]:,} refused"
    )
    sys.exit(1 if counts[What.REFUSED] else 0)


def _found(paths: tuple[Path, ...], folder_tags: bool) -> "list[Found]":
    from gifster.app.transfer.sources import find

    found = [each for path in paths for each in find(path, folder_tags=folder_tags)]
    if not found:
        raise Refused(f"there are no pictures in {', '.join(map(str, paths))}")
    return found


@cli.command()
@click.argument("file", type=path)
@click.option("--user", "address", type=text, help="Only the GIFs of that account.")
@click.option("--tag", type=text, default="", help="Only the GIFs with that tag.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def export(file: Path, address: str | None, tag: str, force: bool) -> None:
    """Write GIFs into a zip, which gifster import reads.

    If FILE is -, the zip goes to standard output. It has the originals, each with a JSON file of
    its title, tags and so on. It has no versions, as those can be made again. Private GIFs are in
    it, GIFs in the trash are not. Only the user who runs the command can read the file.

    The exit status is 1 if a GIF's file is missing or damaged; the others are in the zip.
    """
    settings = settings_here()
    from gifster.app.models import Gif
    from gifster.app.transfer import exporting

    faults = 0
    with _refusals(), open_database(settings):
        gifs = exporting.chosen(_owner(address), tag)
        total = gifs.count()
        if tag and not total:
            raise Refused(f"no GIF of these has the tag {tag}: nothing was written")
        with _target(file, force) as target:
            for gif, fault in progress("exporting", exporting.export(target, gifs), total):
                if fault:
                    faults += 1
                    say(f"GIF {gif.id} ({gif.title}): {fault}", err=True)
        waiting = Gif.select().where(Gif.image.is_null() & (Gif.image_state != "failed")).count()
    later = f"; {waiting:,} of the library are not stored yet" if waiting else ""
    say(f"{total - faults:,} exported, {faults:,} missing or damaged{later}", err=True)
    sys.exit(1 if faults else 0)


@contextmanager
def _target(file: Path, force: bool) -> Iterator[BinaryIO]:
    """The open file. It appears under its name once it is complete."""
    from gifster.uploads.storage.temporaries import lock

    if str(file) == "-":
        yield sys.stdout.buffer
        return
    if file.is_dir():
        raise Refused(f"{file} is a folder: name a file")
    if file.exists() and not force:
        raise Refused(f"{file} is there already: choose another name, or use --force")
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        _remove_left(file)
        with part.open("xb") as target:
            lock(target.fileno())
            yield target
        part.replace(file)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def _remove_left(file: Path) -> None:
    """Remove what exports into this file have left that were killed: it may be as large."""
    from gifster.uploads.storage.temporaries import remove_unused

    ours = re.compile(rf"\.{re.escape(file.name)}\.[0-9a-f]{{8}}")
    with suppress(OSError):  # whatever is wrong with the folder, writing into it says it
        for left in list(file.parent.iterdir()):
            if ours.fullmatch(left.name) and left.stat().st_mtime < time.time() - LEFT_S:
                remove_unused(left)


def _owner(address: str | None) -> "User | None":
    from gifster.app import accounts

    return None if address is None else accounts.find_user(address)


@contextmanager
def _refusals() -> Iterator[None]:
    """Errors of the application become `Refused`, which says in a line what is wrong."""
    from gifster.app.errors import LibraryError
    from gifster.uploads import StorageUnavailable

    try:
        yield
    except LibraryError as error:
        raise refusal(error) from None
    except StorageUnavailable as error:
        raise Refused(f"a storage is away: {error}") from None
