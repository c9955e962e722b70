"""Making the files of one upload: the original, processed, and its versions.

All recipes are planned on the file as it came, whatever builds on whatever: each picture is resized
once, not again and again.
"""

import hashlib
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gifster.uploads import imaging
from gifster.uploads.imaging.apart import run_apart
from gifster.uploads.imaging.placeholder import Placeholder, placeholder
from gifster.uploads.imaging.probe import ImageInfo, probe
from gifster.uploads.imaging.recipe import Image
from gifster.uploads.storage.spool import WORK_PREFIX
from gifster.uploads.versions import processes_of, versions_of

ORIGINAL = "original"


@dataclass(frozen=True)
class ProcessedFile:
    """A file ready to be stored: `original`, or a version by its name."""

    name: str
    path: Path
    info: ImageInfo
    #: The name of the storage where it stays.
    storage: str

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.path.stat().st_size

    @property
    def sha256(self) -> str:
        """The hash of its content, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def placeholder(self) -> Placeholder | None:
        """How it looks from afar, if it is an image."""
        return run_apart(placeholder, self.path) if self.info.is_image else None


@contextmanager
def processed(
    uploader: Any,
    source: Path,
    info: ImageInfo,
    *,
    steps: bool = True,
    versions: Collection[str] | None = None,
) -> Iterator[list[ProcessedFile]]:
    """Make an upload's files, in a temporary folder that lasts as long as the `with` block.

    Parameters:
      uploader: whose steps and versions.
      source, info: the file as it came.
      steps: whether the processing steps apply; not to a stored original, which they have made.
      versions: which versions; None means all.

    Returns:
      the files; the original is the last.

    Raises:
      UploadError: it cannot be processed.
    """
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as folder:
        recipes: dict[str | None, Image] = {None: Image()}
        if steps and info.is_image:
            for step in processes_of(type(uploader)):
                recipes[None] = step.recipe(uploader, recipes[None])
        original = Path(folder) / ORIGINAL if recipes[None] != Image() else source
        wanted = {original: recipes[None]} if original != source else {}
        made = []
        for version in versions_of(type(uploader)).values():
            if not info.is_image or version.of not in recipes:
                continue
            if version.when is not None and not version.when(uploader, info):
                continue
            recipe = version.recipe(uploader, recipes[version.of])
            recipes[version.name] = recipe
            if versions is None or version.name in versions:
                wanted[Path(folder) / version.name] = recipe
                made.append((version.name, version.storage or uploader.storage))
        imaging.render(source, info, wanted)
        files = [
            ProcessedFile(name, path := Path(folder) / name, probe(path), storage)
            for name, storage in made
        ]
        original_info = info if original == source else probe(original)
        yield [*files, ProcessedFile(ORIGINAL, original, original_info, uploader.storage)]
