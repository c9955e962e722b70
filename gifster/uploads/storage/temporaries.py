"""Temporary files and folders on this machine. Each is locked while a process uses it.

The system frees a lock (flock(2)) when its process dies. So the sweep knows what a killed process
left from what a living one uses, whatever its age and whichever application made it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: The beginning of the names of the framework's temporary files and folders.
PREFIX = "gifster-uploads-"


def lock(descriptor: int) -> bool:
    """Lock a new file or folder until its descriptor is closed.

    Returns:
      False if a sweep has removed it meanwhile, so another one has to be made.
    """
    with suppress(OSError):  # not every file system has locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return os.fstat(descriptor).st_nlink > 0


def remove_unused(path: Path, *, remove: bool = True) -> bool:
    """Remove an old file or folder that no living process has locked.

    Parameters:
      path: the caller has found it old: its age alone decides where a file system has no locks.
      remove: False only looks.

    Returns:
      whether nobody uses it.

    Raises:
      FileNotFoundError: it is gone.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        if remove and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif remove:
            path.unlink()
    finally:
        os.close(descriptor)
    return True


def temporary_file(
    extension: str = "", *, delete: bool = True
) -> "tempfile._TemporaryFileWrapper[bytes]":
    """A new file, open for writing and reading. It is in use until it is closed.

    Parameters:
      extension: the end of its name, with the dot.
      delete: whether closing deletes it.
    """
    while True:
        file = tempfile.NamedTemporaryFile(prefix=PREFIX, suffix=extension, delete=delete)  # noqa: SIM115 the caller closes it
        if lock(file.fileno()):
            return file
        with suppress(FileNotFoundError):
            file.close()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, which is removed with its content when the `with` block ends."""
    while True:
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
            try:
                descriptor = os.open(name, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                if lock(descriptor):
                    yield Path(name)
                    return
            finally:
                os.close(descriptor)


def abandoned(before: float) -> Iterator[Path]:
    """Temporary files and folders of this user that no living process uses.

    Parameters:
      before: only those last changed before this moment (seconds since the epoch).
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError, PermissionError):
            facts = path.lstat()
            if facts.st_uid != os.getuid() or facts.st_mtime >= before or path.is_symlink():
                continue
            if remove_unused(path, remove=False):
                yield path
