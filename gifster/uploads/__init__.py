"""Attachments for Peewee models, stored and processed in the background.

    class AvatarUploader(Backgrounder, Uploader):
        storage = "store"

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(220, 220)

    @store_in_background("avatar")
    class User(Model):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    user.avatar = open("me.gif", "rb")      # streamed into the cache, checked
    user.save()                             # the row and its job, in one transaction

It knows Peewee, its storages and `gifster.jobs`; nothing of any application. From the lowest up:
`storage/` keeps files under keys; `cache` is where an upload waits; `imaging/` reads and resizes;
`versions` declares what is made of an upload; `uploader` holds the rules for one kind of file;
`mount` puts an uploader on a model's column; `backgrounder` leaves the slow half to a worker,
which finds it as an actor in `actors`; `sweep` finds what crashes left behind. Call `configure()`
once at start.
"""

from gifster.uploads.backgrounder import Backgrounder, store_in_background
from gifster.uploads.cache import CachedFile, CacheField
from gifster.uploads.config import configure
from gifster.uploads.errors import UploadError
from gifster.uploads.mount import ErrorField, ProcessingField, StateField, mount_uploader
from gifster.uploads.storage.base import Storage
from gifster.uploads.storage.local import LocalStorage
from gifster.uploads.sweep import sweep
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions import Image, version

__all__ = [
    "Backgrounder",
    "CacheField",
    "CachedFile",
    "ErrorField",
    "Image",
    "LocalStorage",
    "ProcessingField",
    "StateField",
    "Storage",
    "UploadError",
    "Uploader",
    "configure",
    "mount_uploader",
    "store_in_background",
    "sweep",
    "version",
]
