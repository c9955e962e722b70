"""The framework's options, which an application sets once at start with `configure()`."""

import re
import weakref
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gifster.uploads.storage.base import Storage, StorageUnavailable, away

T = TypeVar("T")


@dataclass
class Config:
    """The options; `configure()` describes each."""

    storages: dict[str, Storage] = field(default_factory=dict)
    queue: str = "carrierwave"
    max_retries: int = 12
    raise_record_gone: bool = False
    secret: str = ""
    #: All secrets whose signatures are valid; the last one is `secret`, which signs.
    secrets: list[str] = field(default_factory=list)
    private_remotes: bool = False


config = Config()

#: What every storage can do.
_METHODS = ("upload", "open", "exists", "delete", "url")
#: The names that Dramatiq accepts for queues.
_QUEUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")
#: What changes with the options, each with the function that changes it: the framework's actors.
_followers: MutableMapping[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()
#: Each says whether rows that it knows name a file of a storage, by its name.
_witnesses: list[Callable[[str], bool]] = []


def follow(follower: T, apply: Callable[[T], None]) -> None:
    """Call `apply(follower)` after each `configure()`, as long as the follower exists."""
    _followers[follower] = apply


def configure(  # noqa: PLR0913
    storages: Mapping[str, Storage],
    queue: str = "carrierwave",
    *,
    max_retries: int = 12,
    raise_record_gone: bool = False,
    secret: str | Sequence[str] = "",
    private_remotes: bool = False,
) -> None:
    """Set the framework's options, in each process, before the first upload.

    It does not matter whether the models and the actors are imported before or after. The options
    are global in the process, like Dramatiq's broker: another call replaces them.

    Parameters:
      storages: the storages by name. Uploads wait in `cache` for a worker and stay in `store`,
        unless an uploader names others. Web and worker processes must reach the same ones.
      queue: the queue of the background jobs.
      max_retries: how often a failed job is retried, with pauses from one second to five minutes.
      raise_record_gone: whether a job fails if its record has been deleted. By default the job
        cleans up and succeeds.
      secret: signs cache ids and the URLs of derivations. All web processes need the same one. To
        change it, give a list for a while: the last secret signs, and the others stay valid.
      private_remotes: whether `remote_<column>_url` may lead to private and loopback addresses.
        Only for development and tests.

    Raises:
      ValueError: the queue has a name that Dramatiq does not accept.
      TypeError: a storage lacks a method of `Storage`, or a secret is no text.
    """
    if not _QUEUE.fullmatch(queue):
        raise ValueError(
            f"queue is {queue!r}: use letters, digits, '.', '_' and '-', and begin with a letter"
        )
    for name, each in storages.items():
        if missing := [method for method in _METHODS if not hasattr(each, method)]:
            raise TypeError(
                f"the storage {name!r} is {each!r}, which has no {missing[0]}(): write a storage, "
                "such as uploads.LocalStorage(folder)"
            )
    secrets = [secret] if isinstance(secret, str | bytes | None) else list(secret)
    if wrong := [each for each in secrets if not isinstance(each, str)]:
        raise TypeError(
            f"the secret is of type {type(wrong[0]).__name__}: write a text, or a list of texts. "
            "Is it missing in your environment?"
        )
    config.storages = dict(storages)
    config.queue, config.max_retries = queue, max_retries
    config.raise_record_gone = raise_record_gone
    config.secrets = [each for each in secrets if each]
    config.secret = config.secrets[-1] if config.secrets else ""
    config.private_remotes = private_remotes
    for follower, apply in list(_followers.items()):
        apply(follower)


def storage(name: str) -> Storage:
    """The storage with that name.

    Raises:
      LookupError: `configure()` was given no such storage.
    """
    try:
        return config.storages[name]
    except KeyError:
        known = ", ".join(config.storages) or "none; call gifster.uploads.configure() at start"
        raise LookupError(f"there is no upload storage {name!r} (known: {known})") from None


def witness(names_files: Callable[[str], bool]) -> Callable[[str], bool]:
    """Have `away_in_use()` ask a function whether rows name a file of a storage, by its name. This
    is a decorator."""
    _witnesses.append(names_files)
    return names_files


def why_away(name: str) -> str:
    """Why a storage is away, and what to do; empty if it is there, or cannot tell."""
    try:
        return away(storage(name))
    except PermissionError:  # nobody may list it, so it is there
        return ""


def away_in_use(name: str) -> str:
    """Why a storage is away in which rows name files, and what to do; empty if it is there, cannot
    tell, or has nothing to lose."""
    if why_away(name) and any(names_files(name) for names_files in _witnesses):
        return why_away(name)  # a row may have come since, and its file before
    return ""


def storage_to_write(name: str) -> Storage:
    """The storage with that name, to keep a new file.

    Raises:
      LookupError: as `storage()`.
      StorageUnavailable: it is not there, and rows name files in it. It would look as if it were,
        once something is written in its place, and these files would count as lost.
    """
    kept = storage(name)
    if reason := away_in_use(name):
        raise StorageUnavailable(reason)
    return kept
