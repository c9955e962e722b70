"""The backgrounder: leaves the slow work on uploads to a worker.

It follows CarrierWave's backgrounder (`include CarrierWave::Backgrounder::Delay`). With
`store_in_background` the request only caches an upload, and a worker makes the versions and stores
everything (`promotion.py`). With `process_in_background` the request stores the original, and a
worker makes the versions (`recreate.py`). In both cases row and job are written in one transaction.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from gifster.uploads.attributes import ProcessFlag, add_attribute
from gifster.uploads.columns.column import UploadColumn, mounts_of
from gifster.uploads.columns.fields import CacheField, CacheListField
from gifster.uploads.enqueueing import Actor, Background
from gifster.uploads.uploader import Uploader

M = TypeVar("M", bound=type[peewee.Model])

ActorOrName = str | Actor


class Backgrounder(Uploader):
    """Lets an uploader leave work to a worker. Name it before `Uploader` in the base classes.

    The model's `store_in_background` or `process_in_background` says what the worker does. To do
    everything in `save()` instead, set `record.process_<column>_upload = True` before assigning.
    """

    @property
    def background(self) -> Background | None:
        """What is left to a worker; None if the save does everything."""
        at_once = getattr(self.record, f"process_{self.mount.name}_upload", False)
        return None if at_once else self.mount.background


def store_in_background(
    column: str, actor: ActorOrName = "store_asset", queue: str | None = None
) -> Callable[[M], M]:
    """A class decorator: a worker processes and stores the uploads of `column`.

    The model needs the column `<column>_tmp`, a `CacheField` (a `CacheListField` beside
    `mount_uploaders`), and the uploader must be a `Backgrounder`.

    Parameters:
      column: the name of a mounted column.
      actor: the actor, made by `actors.store_actor`; or its name, if the module of the actor cannot
        be imported before the models.
      queue: the queue of an actor given by its name; by default the one named in `configure()`.

    Raises:
      TypeError: the model or its uploader lacks something; says what.
    """

    def decorate(model: M) -> M:
        mount = _mount(model, column)
        needed = CacheListField if mount.many else CacheField
        if not isinstance(mount.companion("tmp"), needed):
            raise TypeError(f"{model.__name__} needs a column {column}_tmp = {needed.__name__}()")
        mount.background = Background(True, actor, queue)
        return model

    return decorate


def process_in_background(
    column: str, actor: ActorOrName = "process_asset", queue: str | None = None
) -> Callable[[M], M]:
    """A class decorator: `save()` stores the originals of `column`, and a worker processes them.

    The uploader must be a `Backgrounder`. If the model has the column `<column>_processing`, a
    `ProcessingField`, it is true from the save until the worker has finished.

    Parameters:
      column, queue: as for `store_in_background`.
      actor: the actor, made by `actors.process_actor`; or its name.

    Raises:
      TypeError: the model or its uploader lacks something; says what.
    """

    def decorate(model: M) -> M:
        _mount(model, column).background = Background(False, actor, queue)
        return model

    return decorate


def _mount(model: Any, column: str) -> UploadColumn[Any]:
    mount = next((mount for mount in mounts_of(model) if mount.name == column), None)
    if mount is None:
        raise TypeError(
            f"{model.__name__}.{column} is not a mounted column: declare it with mount_uploader()"
        )
    if not issubclass(mount.uploader, Backgrounder):
        raise TypeError(f"{mount.uploader.__name__} must be a subclass of Backgrounder")
    if mount.background is not None:
        raise TypeError(
            f"{model.__name__}.{column} is left to a worker twice: choose either "
            "store_in_background or process_in_background"
        )
    add_attribute(model, mount, ProcessFlag)
    return mount
