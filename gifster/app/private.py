"""Keeps Gifster's files private: their modes, the folder that is served, and small files that are
whole after a power cut.

The database, the mails, the cache and the secret are for Gifster's own user only, and never in the
folder that the web server serves. A web server may read stored files: `store.permissions`.
"""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gifster.app.errors import SettingsError

if TYPE_CHECKING:
    from gifster.app.settings import Settings

logger = logging.getLogger("gifster")

VAR = Path("var")
#: What the umask takes from others and from the group.
UMASK = 0o077
OTHERS = stat.S_IRWXG | stat.S_IRWXO
READABLE, ENTERABLE = stat.S_IROTH, stat.S_IXOTH


def keep_private() -> None:
    """Have this process, and those that it starts, make files that only its user can read."""
    os.umask(UMASK)


def write_private(path: Path, content: bytes) -> None:
    """Replace a small file, which only our user can read. After a crash or a power cut it has the
    old content or the new one, and never a part.

    Raises:
      OSError
    """
    from gifster.uploads.storage.local_writer import LocalWriter  # noqa: PLC0415 small

    with LocalWriter(path, permissions=0o600) as writer:
        writer.write(content)


def close_to_others(settings: "Settings") -> None:
    """Close the database, the secret, the mails and the cache to other users of this machine: an
    earlier release let them read these. It touches only what is in `var`: settings may name a
    folder that others need, such as `/tmp`. The doctor reports what stays open."""
    ours = VAR.resolve()
    for path in _private(settings):
        try:
            found = path.stat()
            if (
                found.st_uid == os.geteuid()
                and found.st_mode & OTHERS
                and ours in path.resolve().parents
            ):
                path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
                logger.warning("closed to other users of this machine: %s", path)
        except OSError:
            continue  # not there, or not ours


def refuse_served_secrets(settings: "Settings") -> None:
    """Never serve the database, the secret or another private file at `/media`.

    Raises:
      SettingsError: private files are in the local store, or would be.
    """
    if settings.store.kind != "local":
        return
    store = settings.store.root.resolve()
    found = [path for path in _private(settings) if path.resolve().is_relative_to(store)]
    if found:
        raise SettingsError(
            f"store.root is {str(settings.store.root)!r}, and everybody could download "
            f"{', '.join(map(str, found))} from it: set store.root to a folder that has only "
            "stored files, such as var/store"
        )


def open_to_others(settings: "Settings") -> list[Path]:
    """The files and folders that other users of this machine can read, and should not."""
    # A volume that a cluster has made is everybody's in its container; only what is in it is ours.
    is_volume = VAR.is_mount() and VAR.stat().st_uid == 0 != os.geteuid()
    folders, store = [] if is_volume else [VAR], settings.store
    if store.kind == "local" and store.permissions is None:
        folders.append(store.root)
    return [path for path in [*folders, *_private(settings)] if _is_open(path)]


def is_everybodys(folder: Path) -> bool:
    """Whether others need a folder, such as `/tmp` or `/etc`: it may not be closed to them."""
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    # Not our own user: `sudo gifster doctor` asks, too.
    ours = VAR.stat().st_uid if VAR.exists() else os.geteuid()
    is_the_systems = found.st_uid == 0 and len(folder.resolve().parts) <= 2
    return bool(found.st_mode & stat.S_IWOTH) or found.st_uid != ours or is_the_systems


def _private(settings: "Settings") -> Iterator[Path]:
    yield from (VAR / name for name in ("secret", "valkey", "metrics", "dev.lock"))
    if database := settings.database.file:
        yield from (database.with_name(database.name + end) for end in ("", "-wal", "-shm"))
    if settings.mail.url.startswith("file:"):
        yield Path(settings.mail.url.removeprefix("file:"))
    if settings.cache.kind == "local" and settings.cache.permissions is None:
        yield settings.cache.root


def _is_open(path: Path) -> bool:
    """Whether anybody can read a file, or list a folder: by its own mode, and by its folders'."""
    try:
        readable = path.stat().st_mode & READABLE
        return bool(readable) and all(p.stat().st_mode & ENTERABLE for p in path.absolute().parents)
    except OSError:
        return False
