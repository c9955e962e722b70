"""How the files of an upload get where they stay: under which keys, and what is said of them.

`processing.py` makes the files. The keys follow from the upload and the revision alone: whoever
stores the same upload once more, after a crash, writes the same keys.
"""

import hashlib
from collections.abc import Collection
from pathlib import PurePosixPath

from gifster.imaging.probe import extension
from gifster.uploads.cache import CachedFile
from gifster.uploads.config import storage
from gifster.uploads.processing import ORIGINAL, ProcessedFile
from gifster.uploads.stored import StoredFile, StoredVersion
from gifster.uploads.uploader import Uploader


def folder(uploader: Uploader, upload: CachedFile | StoredFile) -> str:
    """What the keys of an upload begin with. No other upload has the same."""
    source = upload.key if isinstance(upload, CachedFile) else upload.source
    if not source:
        return str(PurePosixPath(upload.key).parent)  # stored by an earlier release
    return f"{uploader.store_dir()}/{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def plan(
    uploader: Uploader,
    files: list[ProcessedFile],
    upload: CachedFile | StoredFile,
    revision: str = "",
) -> StoredFile:
    """What the row will say of the upload once these files are stored.

    Parameters:
      files: the original last, as `Making` gives them.

    Raises:
      ValueError: `filename()` gives two files one name.
    """
    path = f"{folder(uploader, upload)}/{revision}".rstrip("/")
    versions = {}
    for file in files:
        name = uploader.filename(None if file.name == ORIGINAL else file.name, upload)
        versions[file.name] = StoredVersion(
            storage=file.storage,
            key=f"{path}/{name}.{extension(file.info.content_type)}",
            content_type=file.info.content_type,
            bytes=file.bytes,
            width=file.info.width,
            height=file.info.height,
            sha256=file.sha256,
        )
    if len({(version.storage, version.key) for version in versions.values()}) < len(files):
        raise ValueError(f"{type(uploader).__name__}.filename() gives two files the same name")
    original, file = versions.pop(ORIGINAL), files[-1]
    fingerprint = file.fingerprint
    return StoredFile(
        storage=original.storage,
        key=original.key,
        filename=upload.filename,
        content_type=file.info.content_type,
        bytes=original.bytes,
        sha256=original.sha256,
        width=file.info.width,
        height=file.info.height,
        frames=file.info.frames,
        duration_ms=file.info.duration_ms,
        loop=file.info.loop,
        versions=versions,
        color=None if fingerprint is None else fingerprint.color,
        thumbhash=None if fingerprint is None else fingerprint.thumbhash,
        dhash=None if fingerprint is None else fingerprint.dhash,
        source=upload.key if isinstance(upload, CachedFile) else upload.source,
        position=upload.position,
    )


def store(
    uploader: Uploader,
    files: list[ProcessedFile],
    stored: StoredFile,
    there: Collection[str] = (),
) -> None:
    """Store the files as planned; those that the plan names, no others.

    Parameters:
      there: the names of files that are stored already.
    """
    uploader.before_store(stored)
    places = {name: (version.storage, version.key) for name, version in stored.versions.items()}
    places[ORIGINAL] = (stored.storage, stored.key)
    for file in files:
        if file.name in places and file.name not in there:
            name, key = places[file.name]
            storage(name).upload(file.path, key, file.info.content_type)
