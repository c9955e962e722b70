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

- `storage/` keeps files under keys. An upload waits in the `cache`, where `sources` and `remote`
  bring it; `stored` describes it once it is stored. Both can be read (`kept_file`).
- `content_types` says what a file is, and `validation` whether it is allowed.
- `versions` declares the versions of an upload, `version_plan` decides what each is made of,
  `processing` makes them (`made_files` those by methods of the user's), `storing` stores them.
  `derivations` are versions that are made on demand, `extraction` reads an uploader's own facts.
- `uploader` has the rules for one kind of file, `attached_file` shows and reads it, `column` is its
  place in a table, and `attacher` every change to one column of one record. `uploader_list` and
  `list_attacher` are the same for several files. `mount` puts them on a `model`.
- `saving` takes each `incoming` upload through the transaction of a `save()`, and `outcome` learns
  how the transaction ends. `deleting` has the files of deleted rows deleted.
- `backgrounder` leaves the slow work to a worker, whose `actors` run a `promotion` or a `recreate`.
- `sweep` finds and repairs what crashes left behind.
- `endpoints` are web applications for yours to mount, and `instrumentation` tells what is done.
"""

from gifster.imaging.fingerprint import placeholder
from gifster.imaging.probe import ImageInfo
from gifster.uploads.attached_file import json_default
from gifster.uploads.attributes import (
    CacheId,
    CacheIds,
    ProcessFlag,
    RemoteUrl,
    RemoteUrls,
    RemoveFlag,
    RequestHeaders,
)
from gifster.uploads.backgrounder import Backgrounder, process_in_background, store_in_background
from gifster.uploads.cache import CachedFile
from gifster.uploads.cache_ids import presign
from gifster.uploads.config import configure
from gifster.uploads.derivations import derivation
from gifster.uploads.errors import UploadError
from gifster.uploads.extraction import LocalFile, metadata
from gifster.uploads.fields import (
    CacheField,
    CacheListField,
    ErrorField,
    ProcessingField,
    StateField,
    UploadFailure,
    UploadState,
)
from gifster.uploads.filenames import safe_name
from gifster.uploads.mirror import MirrorStorage
from gifster.uploads.model import HasUploads
from gifster.uploads.mount import mount_uploader, mount_uploaders
from gifster.uploads.recreate import recreate_all
from gifster.uploads.refreshing import refresh_metadata
from gifster.uploads.remote import Downloader
from gifster.uploads.sources import Source
from gifster.uploads.storage.base import Storage, StorageUnavailable
from gifster.uploads.storage.fsspec import FsspecStorage
from gifster.uploads.storage.local import LocalStorage
from gifster.uploads.storage.s3 import S3Storage
from gifster.uploads.stored import StoredFile, StoredVersion
from gifster.uploads.sweep import sweep
from gifster.uploads.uploader import Uploader
from gifster.uploads.uploader_list import UploaderList
from gifster.uploads.uploader_version import UploaderVersion
from gifster.uploads.versions import Image, process, version

__all__ = [
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
