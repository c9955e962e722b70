"""The framework's options, set once at start with `configure()`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gifster.uploads.storage.base import Storage


@dataclass
class Config:
    """What `configure()` set."""

    storages: dict[str, Storage] = field(default_factory=dict)
    queue: str = "carrierwave"


config = Config()


def configure(storages: Mapping[str, Storage], queue: str = "carrierwave") -> None:
    """Set the framework's options. Call it before the first upload, in every process.

    Parameters:
      storages: by name. `cache` is where uploads wait for a worker, `store` where they stay,
        unless an uploader names others. Web and workers must reach the same ones.
      queue: the queue that the background jobs go to.
    """
    config.storages = dict(storages)
    config.queue = queue


def storage(name: str) -> Storage:
    """The storage of that name.

    Raises:
      LookupError: `configure()` was not given one.
    """
    try:
        return config.storages[name]
    except KeyError:
        known = ", ".join(config.storages) or "none; call gifster.uploads.configure() at start"
        raise LookupError(f"no upload storage is called {name!r} (known: {known})") from None
