"""The framework's options, set once at start with `configure()`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gifster.uploads.storage.base import Storage


@dataclass
class Config:
    """What `configure()` set."""

    storages: dict[str, Storage] = field(default_factory=dict)
    queue: str = "carrierwave"
    max_retries: int = 12
    raise_record_gone: bool = False
    secret: str = ""
    private_remotes: bool = False


config = Config()

#: What else changes with the options, such as the queue of the framework's actors.
_followers: list[Callable[[], None]] = []


def follow(apply: Callable[[], None]) -> None:
    """Have a function called now, and whenever `configure()` has set other options."""
    _followers.append(apply)
    apply()


def configure(  # noqa: PLR0913
    storages: Mapping[str, Storage],
    queue: str = "carrierwave",
    *,
    max_retries: int = 12,
    raise_record_gone: bool = False,
    secret: str = "",
    private_remotes: bool = False,
) -> None:
    """Set the framework's options. Call it before the first upload, in every process; before or
    after the models and the actors are imported.

    The options are those of the process, as Dramatiq's broker is: calling it again replaces them.

    Parameters:
      storages: by name. `cache` is where uploads wait for a worker, `store` where they stay,
        unless an uploader names others. Web and workers must reach the same ones.
      queue: the queue that the background jobs go to.
      max_retries: how often a job is tried again; with pauses from a second to five minutes.
      raise_record_gone: whether a job whose record has been deleted fails; by default it cleans up
        and is done.
      secret: signs the cache ids that go through a client's hands. All web processes need the same.
      private_remotes: whether `remote_<column>_url` may lead to private and loopback addresses.
        Only for development and tests.
    """
    config.storages = dict(storages)
    config.queue, config.max_retries = queue, max_retries
    config.raise_record_gone = raise_record_gone
    config.secret, config.private_remotes = secret, private_remotes
    for apply in _followers:
        apply()


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
