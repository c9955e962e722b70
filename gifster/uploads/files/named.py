"""A name with an extension for a file on this machine, as many libraries go by the extension."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gifster.uploads.storage.temporaries import temporary_folder


@contextmanager
def named(path: Path, extension: str) -> Iterator[Path]:
    """The path of a file that ends in this extension, for a `with` block: its own, or that of a
    link to it.

    Parameters:
      extension: without the dot; empty for any.
    """
    if not extension or path.suffix == f".{extension}":
        yield path
        return
    with temporary_folder() as folder:
        link = folder / f"file.{extension}"
        link.symlink_to(path.absolute())
        yield link
