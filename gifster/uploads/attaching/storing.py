"""Stores the files of an upload: plans their keys and the facts for the row, then writes them.

`processing.py` makes the files. The keys depend only on the upload, so a retry after a crash writes
the same ones. Those of versions that are made again have a revision, too.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gifster.imaging.image_info import ImageInfo
from gifster.imaging.recipe import Image
from gifster.uploads.config import storage, storage_to_write
from gifster.uploads.content_types import extension
from gifster.uploads.errors import CacheFileMissing
from gifster.uploads.files.access import local_copy, upload_file
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.extraction import metadata_of
from gifster.uploads.files.stored import StoredFile, StoredVersion
from gifster.uploads.storage.base import Storage, StorageUnavailable, is_key, takes_options
from gifster.uploads.storage.local import LocalStorage
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions.declaring import shown_by
from gifster.uploads.versions.derivations import canonical
from gifster.uploads.versions.processing import ORIGINAL, ProcessedFile, original_of

logger = logging.getLogger("gifster.uploads")

#: Like no digest of steps: not all versions, or none at all, begin with the record's.
MIXED = "mixed"


def folder(uploader: Uploader, upload: CachedFile | StoredFile) -> str:
    """The folder that begins the keys of an upload's files; each upload has its own."""
    source = upload.key if isinstance(upload, CachedFile) else upload.source
    if not source:
        return str(PurePosixPath(upload.key).parent)  # An earlier release stored it.
    store_dir, own = uploader.store_dir(), hashlib.sha256(source.encode()).hexdigest()[:16]
    return f"{store_dir}/{own}" if store_dir else own


def plan(
    uploader: Uploader,
    files: list[ProcessedFile],
    upload: CachedFile | StoredFile,
    revision: str = "",
) -> StoredFile:
    """The facts that the row gets once these files are stored: their keys, sizes, and so on.

    Parameters:
      files: the files as `Making` returns them, the original last.
      revision: a folder of its own for these files; empty for the first ones.

    Raises:
      ValueError: the uploader's `filename()` returns one name for two files, or makes no key.
    """
    versions = {}
    for file in files:
        versions[file.name] = StoredVersion(
            storage=file.storage,
            key=_key(uploader, file, upload, revision),
            content_type=file.info.content_type,
            bytes=file.bytes,
            width=file.info.width,
            height=file.info.height,
            sha256=file.sha256,
        )
    if len({(version.storage, version.key) for version in versions.values()}) < len(files):
        raise ValueError(
            f"{type(uploader).__name__}.filename() gives two files the same name: "
            "make the name depend on the version"
        )
    original, file = versions.pop(ORIGINAL), files[-1]
    fingerprint = file.fingerprint
    stored = StoredFile(
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
        metadata=upload.metadata,
        has_sound=file.info.has_sound,
    )
    return replace(stored, steps=steps_of(uploader, stored))


def _key(
    uploader: Uploader, file: ProcessedFile, upload: CachedFile | StoredFile, revision: str = ""
) -> str:
    """The key under which a file of an upload is stored."""
    path = f"{folder(uploader, upload)}/{revision}".rstrip("/")
    is_original = file.name == ORIGINAL
    name = uploader.filename(None if is_original else file.name, upload) or file.name
    ending = extension(file.info.content_type, upload.filename if is_original else file.path.name)
    return checked(uploader, f"{path}/{name}.{ending}")


def check_place(uploader: Uploader, upload: CachedFile) -> None:
    """Check what `store_dir()` and `filename()` say of an upload that waits: a worker could never
    store it under an invalid key.

    Raises:
      ValueError: they make no storage key; says what to do.
    """
    facts = metadata_of(type(uploader)).values()
    if any(fact.later for fact in facts):  # `filename()` may read them, and nobody has, yet
        name = ORIGINAL
    else:
        name = uploader.filename(None, upload) or ORIGINAL
    checked(uploader, f"{folder(uploader, upload)}/{name}.{extension(upload.content_type)}")


def checked(uploader: Uploader, key: str) -> str:
    """A key that an uploader has made, if it is one.

    Raises:
      ValueError: it is none; says what to do.
    """
    if not is_key(key):
        name = type(uploader).__name__
        raise ValueError(
            f"{name}.store_dir() and filename() make {key[:120]!r}, which is no storage key: use "
            "ASCII letters, digits, . _ - and /, let no part begin with a dot, and stay within 512 "
            "characters. uploads.safe_name() makes a name of any text"
        )
    return key


@contextmanager
def content_of(uploader: Uploader, cached: CachedFile) -> Iterator[Path]:
    """An upload as a path on this machine, for a `with` block.

    If it is not in the cache any more, its original in the store is taken: a job has stored it, and
    the database has lost that commit, as after a failover to an asynchronous standby.

    Raises:
      CacheFileMissing: it is not in the store either, or a step has changed the original.
      StorageUnavailable: nobody can tell now whether it is in the cache, and the store has no copy.
      CacheFileChanged: its content is not the content that was checked when it came.
    """
    with ExitStack() as opened:
        try:
            path = opened.enter_context(cached.on_disk())
        except (CacheFileMissing, StorageUnavailable) as missing:
            original = original_of(uploader, Path(ORIGINAL), cached.info, cached.sha256)
            digest = hashlib.sha256()
            copy = local_copy(original.storage, _key(uploader, original, cached), digest)
            try:
                path = opened.enter_context(copy)
            except FileNotFoundError:
                raise missing from None
            if digest.hexdigest() != cached.sha256:
                raise
            logger.warning("taken from the store, as the cache has lost it: key=%s", cached.key)
        yield path


def steps_of(uploader: Uploader, stored: StoredFile) -> str:
    """A digest of the steps with which the versions of a stored file begin, as the uploader's
    record has them now; empty for none."""
    info = ImageInfo(
        stored.content_type,
        stored.width,
        stored.height,
        stored.frames,
        stored.duration_ms,
        stored.loop,
        stored.bytes,
        has_sound=stored.has_sound,
    )
    shown = shown_by(uploader, info)
    return "" if shown == Image() else hashlib.sha256(canonical(shown).encode()).hexdigest()[:16]


def store(
    uploader: Uploader,
    files: list[ProcessedFile],
    stored: StoredFile,
    already_stored: Collection[str] = (),
) -> None:
    """Write the files that the plan names to their storages.

    Parameters:
      files: the files; those that the plan does not name are left out.
      stored: the plan, from `plan()`.
      already_stored: the names of files that need not be written again.
    """
    uploader.before_store(stored)
    places = {name: (version.storage, version.key) for name, version in stored.versions.items()}
    places[ORIGINAL] = (stored.storage, stored.key)
    for file in files:
        if file.name in places and file.name not in already_stored:
            name, key = places[file.name]
            if _is_moved(uploader, file, storage_to_write(name), key):
                continue
            options = {}
            if takes_options(storage(name).upload):
                version = None if file.name == ORIGINAL else file.name
                options = dict(uploader.upload_options(version, stored))
            upload_file(name, key, file.path, file.info.content_type, options, version=file.name)


def _is_moved(uploader: Uploader, file: ProcessedFile, target: Storage, key: str) -> bool:
    """Move a file from the cache to the store, if the uploader wants that, and if it is possible.
    It stays in the cache, too, until the row names it: a retry may need it there."""
    cache = storage(uploader.cache)
    if not uploader.move_to_store or not isinstance(target, LocalStorage):
        return False
    path = file.path.resolve()  # it may be a link with an extension
    if not isinstance(cache, LocalStorage) or not path.is_relative_to(cache.root.resolve()):
        return False
    # Without a mode of its own, a moved file would have the cache's.
    same_mode = target.permissions is not None or cache.permissions is None
    return same_mode and target.link(path, key)
