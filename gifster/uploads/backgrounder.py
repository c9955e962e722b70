"""The backgrounder: what is slow is left to a worker.

After CarrierWave's backgrounder (`include CarrierWave::Backgrounder::Delay`), in its two ways:
`store_in_background` only caches an upload in the request, and a worker makes the versions and
stores everything (`promotion.py`); `process_in_background` stores the original at once, and a
worker makes the versions (`recreate.py`). Either way the job is written in the transaction of the
row.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from gifster.uploads.background import Actor, Background
from gifster.uploads.column import UploadColumn, mounts_of
from gifster.uploads.fields import CacheField, CacheListField
from gifster.uploads.uploader import Uploader

M = TypeVar("M", bound=type[peewee.Model])

ActorOrName = str | Actor


class Backgrounder(Uploader):
    """Mixed into an uploader, before `Uploader`: leaves to a worker what the model's
    `store_in_background` or `process_in_background` says.

    `record.process_<column>_upload = True`, set before a file is assigned, has everything done at
    once.
    """

    @property
    def background(self) -> Background | None:
        """How the assigned file is left to a worker; None if it is not."""
        at_once = getattr(self.record, f"process_{self.mount.name}_upload", False)
        return None if at_once else self.mount.background


def store_in_background(
    column: str, actor: ActorOrName = "store_asset", queue: str | None = None
) -> Callable[[M], M]:
    """A class decorator: the uploads of `column` are processed and stored by a worker.

    The model needs `<column>_tmp`, a `CacheField` (a `CacheListField` beside `mount_uploaders`),
    and the column's uploader must be a `Backgrounder`.

    Parameters:
      column: the name of a mounted column.
      actor: the actor that does it, made by `actors.store_actor`; or its name, where the actor's
        module cannot be imported before the models.
      queue: the queue of an actor given by its name; by default the one that `configure()` named.

    Raises:
      TypeError: the model or its uploader lacks what is needed; says what.
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
    """A class decorator: the originals of `column` are stored at once, and processed by a worker.

    `<column>_processing`, a `ProcessingField`, is true from the enqueueing to the end, where the
    model has it. The column's uploader must be a `Backgrounder`.

    Parameters:
      column, queue: as for `store_in_background`.
      actor: the actor that does it, made by `actors.process_actor`; or its name.

    Raises:
      TypeError: the model or its uploader lacks what is needed; says what.
    """

    def decorate(model: M) -> M:
        _mount(model, column).background = Background(False, actor, queue)
        return model

    return decorate


def _mount(model: Any, column: str) -> UploadColumn[Any]:
    mount = next((mount for mount in mounts_of(model) if mount.name == column), None)
    if mount is None:
        raise TypeError(f"{model.__name__}.{column} is no mount_uploader() column")
    if not issubclass(mount.uploader, Backgrounder):
        raise TypeError(f"{mount.uploader.__name__} must be a subclass of Backgrounder")
    if mount.background is not None:
        raise TypeError(f"{model.__name__}.{column} is left to a worker twice: choose one way")
    setattr(model, f"process_{column}_upload", False)
    return mount
