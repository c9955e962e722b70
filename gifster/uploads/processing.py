"""Makes the files of one upload: the original with its processing steps, and the versions.

Every recipe is planned on the file as it was uploaded, even if a version builds on another one. So
each version is resized once, not once per ancestor. `storing.py` stores the files.
"""

import hashlib
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gifster import imaging
from gifster.imaging.fingerprint import Fingerprint
from gifster.imaging.probe import ImageInfo, probe
from gifster.imaging.recipe import Image
from gifster.uploads.errors import imaging_errors_translated
from gifster.uploads.storage.spool import WORK_PREFIX
from gifster.uploads.versions import Version, processes_of, versions_of

ORIGINAL = "original"


@dataclass(frozen=True)
class ProcessedFile:
    """A file that is ready to be stored: the original (`original`), or a version by its name."""

    name: str
    path: Path
    info: ImageInfo
    #: The name of the storage that it goes to.
    storage: str
    #: The fingerprint; only of an original that is an image whose versions have been made.
    fingerprint: Fingerprint | None = None
    #: The SHA-256 of its content, in hexadecimal, if it is already known.
    known_sha256: str = ""

    @cached_property
    def bytes(self) -> int:
        """The size in bytes."""
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the content, in hexadecimal."""
        if self.known_sha256:
            return self.known_sha256
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def original_of(uploader: Any, path: Path, info: ImageInfo, sha256: str) -> ProcessedFile:
    """The file as it was uploaded, from which the others are made."""
    return ProcessedFile(ORIGINAL, path, info, uploader.storage, known_sha256=sha256)


@contextmanager
def processed(
    uploader: Any,
    source: ProcessedFile,
    *,
    steps: bool = True,
    versions: Collection[str] | None = None,
) -> Iterator["Making"]:
    """Make an upload's files, in a temporary folder that exists for the `with` block.

    Parameters:
      uploader: the uploader that declares the processing steps and the versions.
      source: the uploaded file, from `original_of()`.
      steps: whether to apply the processing steps. A stored original has already gone through them.
      versions: the versions to make; None means all.
    """
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as folder:
        making = Making(uploader, source, Path(folder))
        making.plan(steps, versions)
        try:
            yield making
        finally:
            making.close()


class Making:
    """The files of one upload, which are made when they are asked for.

    `first()` and `all()` raise `UploadError` if the upload cannot be processed.
    """

    def __init__(self, uploader: Any, source: ProcessedFile, folder: Path) -> None:
        self._uploader, self._source, self._folder = uploader, source, folder
        #: The processing steps as one recipe, and the path of the original after them.
        self._step, self._original = Image(), source.path
        #: The versions by path, `later` ones last; and the recipe for each path.
        self._versions: dict[Path, Version] = {}
        self._recipes: dict[Path, Image] = {}
        self._fingerprint: Fingerprint | None = None
        self._done: dict[Path, ProcessedFile] = {}
        self._rendering: Generator[Fingerprint | Path, None, None] | None = None

    def plan(self, steps: bool, names: Collection[str] | None) -> None:
        """Collect the recipes of the files to make."""
        if not self._source.info.is_image:
            return
        if steps:
            for step in processes_of(type(self._uploader)):
                self._step = step.recipe(self._uploader, self._step)
        if self._step != Image():
            self._original = self._folder / ORIGINAL
            self._recipes[self._original] = self._step
        recipes: dict[str | None, Image] = {None: self._step}
        made = []
        for version in versions_of(type(self._uploader)).values():
            if version.of not in recipes:
                continue
            if version.when is not None and not version.when(self._uploader, self._source.info):
                continue
            recipes[version.name] = version.recipe(self._uploader, recipes[version.of])
            if names is None or version.name in names:
                made.append(version)
        for version in sorted(made, key=lambda version: version.later):
            path = self._folder / version.name
            self._versions[path], self._recipes[path] = version, recipes[version.name]
        if self._recipes or names is None:
            smaller_than = {
                path: self._folder / version.smaller_than
                for path, version in self._versions.items()
                if version.smaller_than is not None
            }
            self._rendering = imaging.render(
                self._source.path, self._source.info, self._recipes, self._step, smaller_than
            )

    def first(self) -> list[ProcessedFile] | None:
        """All files except the `later` versions; None if no version is `later`."""
        later = {path for path, version in self._versions.items() if version.later}
        first = set(self._recipes) - later
        while later and not (first <= set(self._done) and self._fingerprint is not None):
            if not self._go_on():
                return None  # One of these cannot be made in its format.
        return self._files(self._done.values()) if later else None

    def all(self) -> list[ProcessedFile]:
        """All files, the original last; without versions that are not `smaller_than` another."""
        while self._go_on():
            pass
        return self._files(file for file in self._done.values() if self._is_small_enough(file))

    def close(self) -> None:
        """Stop making files."""
        if self._rendering is not None:
            self._rendering.close()

    def _go_on(self) -> bool:
        with imaging_errors_translated():
            made = next(self._rendering, None) if self._rendering is not None else None
            if isinstance(made, Fingerprint):
                self._fingerprint = made
            elif made is not None:
                storage = self._versions[made].storage if made in self._versions else None
                storage = storage or self._uploader.storage
                self._done[made] = ProcessedFile(made.name, made, probe(made), storage)
        return made is not None

    def _is_small_enough(self, file: ProcessedFile) -> bool:
        than = self._versions[file.path].smaller_than if file.path in self._versions else None
        other = self._done.get(self._folder / than) if than is not None else None
        return other is None or file.bytes < other.bytes

    def _files(self, done: Iterable[ProcessedFile]) -> list[ProcessedFile]:
        original = self._done.get(self._original, self._source)
        versions = [file for file in done if file.path in self._versions]
        # The hash is known from now on: `replace()` would forget it.
        known = original.sha256
        return [*versions, replace(original, fingerprint=self._fingerprint, known_sha256=known)]
