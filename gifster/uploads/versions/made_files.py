"""The files made of an upload: what is known of each, and how a step of the user's makes one.

A step gets a copy of the file in a folder of its own, so it may change it in place. It runs in the
worker's process, like the functions of `Image.apply`: it is the application's code, and may need
what the application has imported.
"""

import hashlib
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gifster.imaging.fingerprint import Fingerprint
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import probe
from gifster.uploads.content_types import HEAD_BYTES, detect, extension
from gifster.uploads.errors import imaging_errors_translated
from gifster.uploads.versions.declaring import Process, Version

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


def facts_of(path: Path) -> ImageInfo:
    """The facts of a file that was made here; its name may say what kind of text it is.

    Raises:
      UploadError: it is an image that cannot be read.
    """
    with imaging_errors_translated():
        info = probe(path)
    if info.is_image:
        return info
    with path.open("rb") as file:
        return replace(info, content_type=detect(file.read(HEAD_BYTES), path.name))


def run_step(uploader: Any, step: Process | Version, source: ProcessedFile, folder: Path) -> Path:
    """Call a method of the uploader that makes a file of a file.

    Parameters:
      source: the file to give it.
      folder: an empty folder for its files.

    Returns:
      the path of the file that it has made.

    Raises:
      TypeError, FileNotFoundError: the method returned no file.
      any error that the method raises.
    """
    copy = folder / f"{ORIGINAL}.{extension(source.info.content_type, source.path.name)}"
    shutil.copyfile(source.path, copy)
    function: Any = step.function
    made: Any = function(uploader, copy)
    if isinstance(made, bytes):
        copy.unlink(missing_ok=True)
        copy.write_bytes(made)
        return copy
    name = f"{type(uploader).__name__}.{step.name}()"
    if not isinstance(made, Path):
        raise TypeError(f"{name} returned {made!r}: it must return a Path or bytes")
    if not made.is_file():
        raise FileNotFoundError(f"{name} returned {made}, which is not a file")
    return made
