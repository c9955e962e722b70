"""Attachments for Peewee models, stored and processed in the background.

    class AvatarUploader(Backgrounder, Uploader):
        storage = "store"

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(220, 220)

    @store_in_background("avatar")
    class User(HasUploads, peewee.Model):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    user.avatar = open("me.gif", "rb")      # streams the file into the cache, and checks it
    user.save()                             # writes the row and its job in one transaction

Call `configure()` at start. The package uses Peewee, `gifster.imaging` and `gifster.jobs`, and
knows nothing of any application. Its modules, from the bottom up:

- `storage/` keeps files under keys. `files/` has the uploads that wait in the cache and those that
  are stored, `remote/` brings them from other servers, and `content_types` says what they are.
- `resumable/` has the uploads that go on after a lost connection, and their `TABLES`.
- `versions/` declares, plans and makes the versions of an upload.
- `uploader` has the rules for one kind of file. It sits between `columns/`, the places of uploads
  in a table, and `attaching/`, every change to them from an assignment to the end of a `save()`.
- `mount` puts uploaders on a `model`, whose records get `attributes`.
- `backgrounding/` leaves the slow work to a worker, whose `actors` run it.
- `sweep/` finds and repairs what crashes left behind.
- `endpoints/` are web applications for yours to mount, and `instrumentation` tells what is done.
"""

from gifster.imaging.fingerprint import placeholder
from gifster.imaging.image_info import ImageInfo
from gifster.uploads.attaching.uploader_list import UploaderList
from gifster.uploads.attributes import (
    CacheId,
    CacheIds,
    ProcessFlag,
    RemoteUrl,
    RemoteUrls,
    RemoveFlag,
    RequestHeaders,
)
from gifster.uploads.backgrounding.backgrounder import (
    Backgrounder,
    process_in_background,
    store_in_background,
)
from gifster.uploads.backgrounding.recreate import recreate_all
from gifster.uploads.backgrounding.refreshing import refresh_metadata
from gifster.uploads.columns.attached_file import json_default
from gifster.uploads.columns.fields import (
    CacheField,
    CacheListField,
    ErrorField,
    ProcessingField,
    StateField,
    UploadFailure,
)
from gifster.uploads.columns.states import UploadState
from gifster.uploads.config import configure
from gifster.uploads.errors import UploadError
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.cache_ids import presign
from gifster.uploads.files.extraction import LocalFile, metadata
from gifster.uploads.files.filenames import safe_name
from gifster.uploads.files.sources import Source
from gifster.uploads.files.stored import StoredFile, StoredVersion
from gifster.uploads.files.uploader_version import UploaderVersion
from gifster.uploads.mirror import MirrorStorage
from gifster.uploads.model import HasUploads
from gifster.uploads.mount import mount_uploader, mount_uploaders
from gifster.uploads.remote.downloader import Downloader
from gifster.uploads.resumable.table import TABLES
from gifster.uploads.storage.base import Storage, StorageUnavailable
from gifster.uploads.storage.fsspec import FsspecStorage
from gifster.uploads.storage.local import LocalStorage
from gifster.uploads.storage.s3 import S3Storage
from gifster.uploads.sweep import sweep
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions.declaring import Image, process, version
from gifster.uploads.versions.derivations import derivation

__all__ = [
    "TABLES",
    "Backgrounder",
    "CacheField",
    "CacheId",
    "CacheIds",
    "CacheListField",
    "CachedFile",
    "Downloader",
    "ErrorField",
    "FsspecStorage",
    "HasUploads",
    "Image",
    "ImageInfo",
    "LocalFile",
    "LocalStorage",
    "MirrorStorage",
    "ProcessFlag",
    "ProcessingField",
    "RemoteUrl",
    "RemoteUrls",
    "RemoveFlag",
    "RequestHeaders",
    "S3Storage",
    "Source",
    "StateField",
    "Storage",
    "StorageUnavailable",
    "StoredFile",
    "StoredVersion",
    "UploadError",
    "UploadFailure",
    "UploadState",
    "Uploader",
    "UploaderList",
    "UploaderVersion",
    "configure",
    "derivation",
    "json_default",
    "metadata",
    "mount_uploader",
    "mount_uploaders",
    "placeholder",
    "presign",
    "process",
    "process_in_background",
    "recreate_all",
    "refresh_metadata",
    "safe_name",
    "store_in_background",
    "sweep",
    "version",
]
