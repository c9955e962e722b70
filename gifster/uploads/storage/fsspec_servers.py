"""How the file systems of fsspec differ where `FsspecStorage` must know it, and which were tried.

The names are fsspec's first names of their protocols: `gs` for `gcs`, `webdav` for `dav`.
"""

import warnings
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from gifster.uploads.content_types import is_inline
from gifster.uploads.storage.fsspec_ftp import FtpFile

#: Object storages, by fsspec's names: a file is there once it is complete, and folders are not.
OBJECT_STORAGES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "hf"}
#: The protocols whose servers were held against the contract (docs/storages.md says which).
TRIED = {"memory", "file", "local", "sftp", "ssh", "webdav", "dav", "ftp", "s3", "s3a", "gs",
         "gcs", "abfs", "abfss", "az"}  # fmt: skip
#: What the file systems call the time of the last write, the most exact first.
WRITTEN_AT = (
    "mtime", "LastModified", "last_modified", "updated", "modified", "modify", "created",
)  # fmt: skip
#: How long an SFTP server may say nothing (seconds). paramiko would wait for one that has gone.
SILENT_S = 20.0
#: How much of a file is read at a time (bytes).
PIECE_BYTES = 256 * 1024
#: How often a file is renamed over one that other writers put back each time.
RENAMES = 10


def warn_if_untried(protocol: str) -> None:
    """Warns at the construction of a storage whose servers may show half-written files."""
    if protocol not in TRIED:
        warnings.warn(
            f"FsspecStorage was never tried on a server of {protocol}://, which may show files "
            "before they are complete. Hold it against gifster.uploads.testing.StorageContract. "
            "Then pass atomic=True if put_file() shows a file only when it is complete, or "
            "atomic=False if mv() renames and replaces",
            stacklevel=3,
        )


def protocol_of(fs: Any) -> str:
    """fsspec's first name for a file system, as it may have several: `gs` for `gcs`."""
    return str(fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0])


def connecting(url: str) -> dict[str, float]:
    """fsspec's storage options for a new connection."""
    names = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
    is_sftp = url.startswith(("sftp://", "ssh://"))
    return dict.fromkeys(names, SILENT_S) if is_sftp else {}


def prepare(fs: Any) -> None:
    """Set up a new connection. WebDAV servers may compress what they send; the size and ranges
    would be those of the compressed answer (RFC 9110, 8.4)."""
    match protocol_of(fs):
        case "webdav":
            fs.client.http.headers["Accept-Encoding"] = "identity"
        case "sftp":
            fs.ftp.get_channel().settimeout(SILENT_S)


def headers(fs: Any, content_type: str) -> dict[str, Any]:
    """The content type, as the file system's `put_file()` calls it, and what keeps browsers from
    showing a file in which scripts could run (RFC 6266, 4.2)."""
    shown = is_inline(content_type)
    match protocol_of(fs):
        case "s3":
            disposition = {} if shown else {"ContentDisposition": "attachment"}
            return {"ContentType": content_type, **disposition}
        case "gs":
            fixed = {} if shown else {"content_disposition": "attachment"}
            return {"content_type": content_type, "fixed_key_metadata": fixed}
        case "abfs":
            disposition = {} if shown else {"content_disposition": "attachment"}
            return {"content_settings": {"content_type": content_type, **disposition}}
    return {}


def send(fs: Any, source: Path, path: str, options: Mapping[str, Any]) -> None:
    """Write a file. fsspec sends each 64 KiB to an FTP server with a command of its own (REST and
    STOR), which some servers refuse; one STOR sends all of them."""
    if protocol_of(fs) != "ftp":
        fs.put_file(str(source), path, **options)
        return
    with source.open("rb") as file:
        fs.ftp.storbinary(f"STOR {path}", file)


def open_on(fs: Any, path: str) -> Any:
    """A file for reading."""
    return FtpFile(fs, path) if protocol_of(fs) == "ftp" else fs.open(path, "rb")


def make_folder(fs: Any, folder: str) -> None:
    """Make a folder, and those above it. Others may be making the same ones."""
    for attempt in range(10):
        try:
            fs.makedirs(folder, exist_ok=True)
        except Exception:
            if attempt == 9:
                raise
        if fs.isdir(folder):
            return


def rename(fs: Any, path: str, target: str) -> None:
    """Give a complete file its name. A server that replaces no file is asked to delete it first,
    unless both have the same content: a row may name it. Other writers may put it back in
    between."""
    if protocol_of(fs) == "webdav":  # its mv() copies, so that others see a half of the file
        fs.client.move(path, target, overwrite=True)
        return
    for attempt in range(RENAMES):
        try:
            fs.mv(path, target)
        except Exception:
            if attempt == RENAMES - 1:
                raise
            with suppress(FileNotFoundError):
                if _digest(fs, target) == _digest(fs, path):
                    remove(fs, path)
                    return
                remove(fs, target)
        else:
            return


def _digest(fs: Any, path: str) -> bytes:
    """The SHA-256 of a file's content.

    Raises:
      FileNotFoundError: there is none.
    """
    digest = sha256()
    with closing(open_on(fs, path)) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def remove(fs: Any, path: str) -> None:
    """Delete a file.

    Raises:
      FileNotFoundError: there is none. FTP has one error for this and for all other refusals.
    """
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        raise
    except Exception:
        fs.info(path)
        raise


def seconds(at: Any) -> float:
    """The seconds since the epoch of a time, as any of the file systems writes it."""
    if isinstance(at, str):
        # FTP leaves the T out (RFC 3659, 2.3).
        at = datetime.fromisoformat(f"{at[:8]}T{at[8:]}" if at[:14].isdigit() else at)
    if isinstance(at, datetime):
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return float(at)
