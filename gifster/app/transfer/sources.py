"""What an import finds: the pictures of folders, zips and lists of URLs, with what is said of them.

A file's details come from its sidecar, a JSON object in a file beside it: `cat.gif.json` or
`cat.json`. Exports write such files, and so does gallery-dl. Without one, the title is the name of
the file, and the folders that it lies in are its tags.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import IO

from gifster.app import edits, texts
from gifster.app.edits import Edit
from gifster.app.errors import Invalid, LibraryError
from gifster.imaging.image_info import IMAGE_EXTENSIONS

#: The files of a folder or a zip that are tried, by their names' endings. A file that is named
#: itself is always tried.
ENDINGS = frozenset(
    {f".{ending}" for ending in IMAGE_EXTENSIONS.values()}
    | {".apng", ".jpeg", ".jpe", ".tiff", ".heif", ".mp4", ".m4v", ".mov", ".webm"}
)
#: A sidecar has at most so many bytes.
MAX_SIDECAR = 1024 * 1024
#: The endings of lists of URLs.
LISTS = {".txt", ".urls"}


@dataclass(frozen=True)
class Details:
    """What is said of a picture. Empty fields take the library's defaults."""

    title: str = ""
    tags: list[str] = field(default_factory=list)
    alt_text: str = ""
    rating: str = ""
    visibility: str = ""
    edit: Edit | None = None


@dataclass(frozen=True)
class Found:
    """A picture to import.

    Parameters:
      name: where it was found, for messages: a path, a path in a zip, or a URL.
      open: opens its content; None if it is fetched from the URL in `name`.
      details: returns what is said of it. Raises `Invalid` if its sidecar is wrong.
    """

    name: str
    open: Callable[[], IO[bytes]] | None
    details: Callable[[], Details]


def find(path: Path, *, folder_tags: bool = True) -> Iterator[Found]:
    """The pictures of a path, in the order of their names.

    Parameters:
      path: a picture, a folder (with those below it), a zip, or a list of URLs: a file of the
        ending `.txt` or `.urls` with one URL a line; `#` begins a comment.
      folder_tags: whether the folders below `path` are tags.

    Raises:
      LibraryError: the path does not exist, cannot be read, or is no zip or list of its ending.
    """
    try:
        if path.is_dir():
            yield from _in_folder(path, folder_tags)
        elif path.suffix.lower() == ".zip":
            yield from _in_zip(path, folder_tags)
        elif path.suffix.lower() in LISTS:
            yield from _in_list(path)
        else:
            path.stat()
            yield _file(path, [])
    except OSError as error:
        raise LibraryError("source_unreadable", f"{path}: {error.strerror or error}.") from None


def _in_folder(root: Path, folder_tags: bool) -> Iterator[Found]:
    paths: list[Path] = []
    unlisted: dict[Path, OSError] = {}
    for folder, below, files in os.walk(
        root, onerror=lambda e: unlisted.update({Path(e.filename): e})
    ):
        below[:] = [name for name in below if not _is_hidden(name)]
        paths += [Path(folder, name) for name in files]
    for path in sorted([*paths, *unlisted]):
        inside = path.relative_to(root)
        if path in unlisted:
            yield _unlisted(path, unlisted[path])
        elif _is_picture(inside) and path.is_file():
            yield _file(path, list(inside.parts[:-1]) if folder_tags else [])


def _unlisted(folder: Path, error: OSError) -> Found:
    """A folder that may have pictures, and cannot be listed: it is refused as a picture is that
    cannot be read."""

    def fails() -> IO[bytes]:
        raise error

    return Found(f"{folder}{os.sep}", fails, Details)


def _file(path: Path, tags: list[str]) -> Found:
    def details() -> Details:
        for beside in _sidecars(path.name):
            sidecar = path.with_name(beside)
            if sidecar.is_file():
                with sidecar.open("rb") as file:
                    return _read(file.read(MAX_SIDECAR + 1), str(sidecar), tags)
        return Details(tags=_kept(tags))

    return Found(str(path), lambda: path.open("rb"), details)


def _in_zip(path: Path, folder_tags: bool) -> Iterator[Found]:
    """The pictures of a zip. Nothing is unpacked onto the disk, so no name in it leads anywhere. No
    more of a picture is read than an upload may have.

    The zip stays open as long as somebody holds one of its pictures.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise LibraryError("source_unreadable", f"{path} is no zip: {error}.") from None
    entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
    for name in sorted(entries):
        if _is_picture(PurePosixPath(name)):
            yield _entry(path, archive, entries, name, folder_tags)


def _entry(
    path: Path,
    archive: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    name: str,
    folder_tags: bool,
) -> Found:
    inside = PurePosixPath(name)
    tags = list(inside.parts[:-1]) if folder_tags else []

    def details() -> Details:
        for beside in _sidecars(inside.name):
            sidecar = entries.get(str(inside.with_name(beside)))
            if sidecar is not None:
                with _opened(archive, sidecar) as file:
                    return _read(file.read(MAX_SIDECAR + 1), f"{path}/{sidecar.filename}", tags)
        return Details(tags=_kept(tags))

    return Found(f"{path}/{name}", lambda: _opened(archive, entries[name]), details)


def _opened(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
        # Encrypted, or packed in a way that Python cannot unpack.
        raise Invalid("source_unreadable", f"It cannot be unpacked: {error}.") from None


def _in_list(path: Path) -> Iterator[Found]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise LibraryError(
            "source_unreadable", f"{path} is no list of URLs: it has bytes that are not UTF-8."
        ) from None
    for line in lines:
        url = line.strip()
        if url and not url.startswith("#"):
            yield Found(url, None, Details)


def _is_picture(inside: PurePath) -> bool:
    """Whether a file of a folder or a zip is tried. Hidden files are not."""
    return not any(map(_is_hidden, inside.parts)) and inside.suffix.lower() in ENDINGS


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _sidecars(name: str) -> list[str]:
    return [f"{name}.json", f"{PurePath(name).stem}.json"]


def _read(content: bytes, name: str, folders: list[str]) -> Details:
    if len(content) > MAX_SIDECAR:
        raise Invalid("sidecar_invalid", f"{name} has more than {MAX_SIDECAR:,} bytes.")
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Invalid("sidecar_invalid", f"{name} is no JSON: {error}.") from None
    if not isinstance(read, dict):
        raise Invalid("sidecar_invalid", f"{name} is no JSON object.")
    tags = read.get("tags")
    if isinstance(tags, str):
        tags = texts.split_tags(tags)
    if tags is not None and not (
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    ):
        raise Invalid("sidecar_invalid", f"{name}: tags must be a list of texts.")
    said = {key: read.get(key) for key in ("title", "alt_text", "rating", "visibility")}
    for key, value in said.items():
        if value is not None and not isinstance(value, str):
            raise Invalid("sidecar_invalid", f"{name}: {key} must be a text.")
    given = {key: value for key, value in said.items() if value is not None}
    tags = _kept(folders) if tags is None else tags
    return Details(tags=tags, edit=edits.read(read.get("edit")), **given)


def _kept(folders: list[str]) -> list[str]:
    """The names of folders that can be tags; the others do not keep a picture out."""
    names = []
    for folder in folders:
        try:
            names += texts.tag_names([folder])
        except Invalid:
            continue
    return names[-texts.MAX_TAGS :]
