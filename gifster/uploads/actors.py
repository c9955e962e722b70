"""The framework's actors. Import this module where your actors are, after the broker is set and
`configure()` was called:

    gifster.jobs.connect(url)                 # or dramatiq.set_broker(...)
    gifster.uploads.configure({...})
    import gifster.uploads.actors

The modules of your models must be imported there, too. An actor of your own, with its queue,
priority, retries or time limit, is made by `store_actor` or `process_actor`:

    @store_actor(queue_name="avatars", priority=5, max_retries=3, time_limit=60_000)
    def store_avatar(promotion: Promotion) -> None:
        promotion.promote()

and named to the model: `@store_in_background("avatar", actor="store_avatar", queue="avatars")`.
"""

from collections.abc import Callable
from typing import Any

import dramatiq

from gifster.uploads.config import config
from gifster.uploads.errors import UploadError
from gifster.uploads.keys import from_job
from gifster.uploads.mount import mount_named
from gifster.uploads.promotion import Promotion, RecordGone
from gifster.uploads.recreate import Recreation
from gifster.uploads.stored import delete_files

Actor = dramatiq.Actor[Any, Any]

#: Retries, with back-off from a second to five minutes: about half an hour in all.
_DEFAULTS: dict[str, Any] = {
    "queue_name": config.queue,
    "max_retries": config.max_retries,
    "min_backoff": 1_000,
    "max_backoff": 300_000,
    "throws": RecordGone,
}


def store_actor(**options: Any) -> Callable[[Callable[[Promotion], None]], Actor]:
    """Declare an actor for `store_in_background` (a subclass of CarrierWave's `StoreAsset`).

    The function is handed a `Promotion`, and calls its `promote()`.

    Parameters:
      options: as for `dramatiq.actor`; what is left out is as in the framework's own. Its jobs
        come through the outbox only (`gifster.jobs`); `outbox_only=False` lets `send()` through.
    """

    def declare(work: Callable[[Promotion], None]) -> Actor:
        def store(table: str, pk: Any, column: str, cache_key: str) -> None:
            work(Promotion(table, pk, column, cache_key))

        def on_dead(error: BaseException, *arguments: Any) -> None:
            Promotion(*arguments).fail(error, give_up=False)

        return _declare(work, store, options, on_dead)

    return declare


def process_actor(**options: Any) -> Callable[[Callable[[Recreation], None]], Actor]:
    """Declare an actor for `process_in_background` (a subclass of CarrierWave's `ProcessAsset`).

    The function is handed a `Recreation`, and calls its `process_first()`.

    Parameters:
      options: as for `store_actor`.
    """

    def declare(work: Callable[[Recreation], None]) -> Actor:
        def process(table: str, pk: Any, column: str, key: str) -> None:
            work(Recreation(table, pk, column, key))

        def on_dead(error: BaseException, *arguments: Any) -> None:
            Recreation(*arguments).fail(error)

        return _declare(work, process, options, on_dead)

    return declare


def _declare(
    work: Callable[..., None],
    function: Callable[..., None],
    options: dict[str, Any],
    on_dead: Callable[..., None],
) -> Actor:
    function.__name__, function.__doc__ = work.__name__, work.__doc__
    outbox_only = options.pop("outbox_only", True)
    actor: Actor = dramatiq.actor(function, **_DEFAULTS | options)
    # Not at the declaration: the broker of somebody's tests may be one that does not know them.
    actor.options.update(on_dead=on_dead, outbox_only=outbox_only)
    return actor


@store_actor()
def store_asset(promotion: Promotion) -> None:
    """Process and store a cached upload (CarrierWave's `StoreAsset`)."""
    promotion.promote()


@process_actor()
def process_asset(recreation: Recreation) -> None:
    """Make the versions of an upload that is stored already (CarrierWave's `ProcessAsset`)."""
    recreation.process_first()


@dramatiq.actor(**_DEFAULTS | {"throws": (RecordGone, UploadError)})  # type: ignore[untyped-decorator]
def recreate_versions(  # noqa: PLR0913, PLR0917
    table: str, pk: Any, column: str, key: str, names: list[str], revision: str
) -> None:
    """Make versions of a stored upload again."""
    Recreation(table, pk, column, key).again(names, revision)


@dramatiq.actor(**_DEFAULTS)  # type: ignore[untyped-decorator]
def remove_files(table: str, pk: Any, column: str, files: list[tuple[str, str]]) -> None:
    """Remove files that no row names any more."""
    delete_files(files)
    mount = mount_named(table, column)
    record = mount.model(**{mount.model._meta.primary_key.name: from_job(mount.model, pk)})
    mount.uploader(record, mount).after_remove([(name, key) for name, key in files])


for _actor in (recreate_versions, remove_files):
    _actor.options["outbox_only"] = True
