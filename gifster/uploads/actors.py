"""The framework's actors. Import this module with your own actors, after setting the broker:

    gifster.jobs.connect(url)                 # or dramatiq.set_broker(...)
    import gifster.uploads.actors

Import the modules of your models there, too. For an actor with its own queue, priority, retries or
time limit, use `store_actor` or `process_actor`:

    @store_actor(queue_name="avatars", priority=5, max_retries=3, time_limit=60_000)
    def store_avatar(promotion: Promotion) -> None:
        promotion.promote()

and name it to the model: `@store_in_background("avatar", actor="store_avatar", queue="avatars")`.

The scheduler of `python -m gifster.jobs run` calls the sweep every hour, because this module
declares it as a recurring job.
"""

import logging
from collections.abc import Callable
from typing import Any

import dramatiq

from gifster.jobs import cron, declare_recurring
from gifster.uploads import mirror
from gifster.uploads.backgrounding.completion import Completion
from gifster.uploads.backgrounding.promotion import Promotion, RecordGone
from gifster.uploads.backgrounding.recreate import Recreation
from gifster.uploads.backgrounding.updating import Updating
from gifster.uploads.columns.rows import record_of_key
from gifster.uploads.config import config, follow
from gifster.uploads.errors import UploadError
from gifster.uploads.files.keys import from_job
from gifster.uploads.files.stored import delete_files
from gifster.uploads.mount import mount_named
from gifster.uploads.resumable import rows, table
from gifster.uploads.sweep import sweep

__all__ = ["Promotion", "Recreation", "process_actor", "store_actor"]

logger = logging.getLogger("gifster.uploads")

Actor = dramatiq.Actor[Any, Any]

#: The back-off in milliseconds: retries take about half an hour in all. `configure()` sets their
#: number and the queue.
_DEFAULTS: dict[str, Any] = {
    "min_backoff": 1_000,
    "max_backoff": 300_000,
    "throws": RecordGone,
}


def store_actor(**options: Any) -> Callable[[Callable[[Promotion], None]], Actor]:
    """Declare an actor for `store_in_background` (a subclass of CarrierWave's `StoreAsset`).

    The function gets a `Promotion`, and calls its `promote()`.

    Parameters:
      options: as for `dramatiq.actor`, with the defaults of the framework's own actors. Jobs of the
        actor must go through the outbox (`gifster.jobs`); `outbox_only=False` also allows `send()`.
    """

    def declare(work: Callable[[Promotion], None]) -> Actor:
        def store(table: str, pk: Any, column: str, cache_key: str) -> None:
            work(Promotion(table, pk, column, cache_key))

        actor = _actor(**options)(_named_after(work, store))
        actor.options["on_dead"] = _promotion_died
        return actor

    return declare


def _promotion_died(error: BaseException, *arguments: Any) -> None:
    Promotion(*arguments).fail(error, give_up=False)


def process_actor(**options: Any) -> Callable[[Callable[[Recreation], None]], Actor]:
    """Declare an actor for `process_in_background` (a subclass of CarrierWave's `ProcessAsset`).

    The function gets a `Recreation`, and calls its `process_first()`.

    Parameters:
      options: as for `store_actor`.
    """

    def declare(work: Callable[[Recreation], None]) -> Actor:
        def process(table: str, pk: Any, column: str, key: str) -> None:
            work(Recreation(table, pk, column, key))

        def on_dead(error: BaseException, *arguments: Any) -> None:
            Recreation(*arguments).fail(error, give_up=False)

        actor = _actor(**options)(_named_after(work, process))
        actor.options["on_dead"] = on_dead
        return actor

    return declare


def _actor(outbox_only: bool = True, **options: Any) -> Callable[[Callable[..., None]], Actor]:
    """Like `dramatiq.actor`; options that are left out follow `configure()`, now and later."""

    def declare(function: Callable[..., None]) -> Actor:
        configured = {"queue_name": config.queue, "max_retries": config.max_retries}
        actor: Actor = dramatiq.actor(function, **configured | _DEFAULTS | options)
        # Set it here: a test's broker may not know this option, and refuse it in the declaration.
        actor.options["outbox_only"] = outbox_only

        def apply(actor: Actor) -> None:
            if "queue_name" not in options and actor.queue_name != config.queue:
                actor.queue_name = config.queue
                actor.broker.declare_queue(config.queue)
            if "max_retries" not in options:
                actor.options["max_retries"] = config.max_retries

        follow(actor, apply)
        return actor

    return declare


def _named_after(work: Callable[..., None], function: Callable[..., None]) -> Callable[..., None]:
    function.__name__, function.__doc__ = work.__name__, work.__doc__
    return function


@store_actor()
def store_asset(promotion: Promotion) -> None:
    """Process and store a cached upload (CarrierWave's `StoreAsset`)."""
    promotion.promote(gives_way=True)


@_actor(priority=10)
def complete_asset(table: str, pk: Any, column: str, cache_key: str) -> None:
    """Make the `later` versions of an upload that was shown while others waited."""
    Completion(table, pk, column, cache_key).promote()


complete_asset.options["on_dead"] = _promotion_died


@process_actor()
def process_asset(recreation: Recreation) -> None:
    """Make the versions of an upload whose original is stored (CarrierWave's `ProcessAsset`)."""
    recreation.process_first()


@_actor(priority=20, throws=(RecordGone, UploadError))
def recreate_versions(  # noqa: PLR0913, PLR0917
    table: str, pk: Any, column: str, key: str, names: list[str], revision: str
) -> None:
    """Make versions of a stored upload again, for `recreate_versions()`. Workers of the release
    before name the files' folder after `revision`."""
    Recreation(table, pk, column, key).again(names)


@_actor(priority=5)
def update_versions(table: str, pk: Any, column: str, key: str, revision: str) -> None:
    """Make versions of a stored upload again whose steps have changed (`update_versions()`). Of
    `revision` see above."""
    Updating(table, pk, column, key).update_versions()


def _update_died(error: BaseException, *arguments: Any) -> None:
    Updating(*arguments[:4]).give_up(error)


update_versions.options["on_dead"] = _update_died


@_actor(max_retries=100, max_backoff=3_600_000)
def remove_files(table: str, pk: Any, column: str, files: list[tuple[str, str]]) -> None:
    """Delete stored files that no row names any more. Nobody waits for it, and the sweep leaves
    them to this job, a dead one, too: so it tries for days while a storage is away."""
    delete_files(files)
    mount = mount_named(table, column)
    record = record_of_key(mount.model, from_job(mount.model, pk))
    mount.uploader(record, mount).after_remove([(name, key) for name, key in files])


@_actor(max_retries=100, max_backoff=3_600_000)
def mirror_file(name: str, key: str, content_type: str) -> None:
    """Bring the second storage of a `MirrorStorage` up to date with the first, for one file."""
    mirror.catch_up(name, key, content_type)


@_actor(max_retries=3)
def sweep_uploads() -> None:
    """Remove what crashes left behind, and resumable uploads that have expired. Log what was
    found."""
    expired = rows.forget_expired() if table.is_bound() else 0
    found = sweep(repair=True)
    for left in found.left_alone:
        logger.log(left.level, "sweep left alone %s", left)
    counts = " ".join(f"{kind}={count}" for kind, count in found.counts().items())
    logger.info("swept %s expired_uploads=%d", counts, expired)


declare_recurring({"sweep_uploads": cron("17 * * * *", "sweep_uploads")})
