"""The framework's actors. Import this module where your actors are, after the broker is set:

    dramatiq.set_broker(...)                  # or gifster.jobs.connect(url)
    import gifster.uploads.actors

The modules of your models must be imported there, too.
"""

from typing import Any

import dramatiq

from gifster.uploads.backgrounder import Promotion
from gifster.uploads.config import config
from gifster.uploads.uploader import delete_files

#: Retries, with back-off from a second to five minutes: about half an hour in all.
RETRIES: dict[str, Any] = {"max_retries": 12, "min_backoff": 1_000, "max_backoff": 300_000}


def _storing_failed(error: BaseException, *arguments: Any) -> None:
    Promotion(*arguments).fail(error, give_up=False)


@dramatiq.actor(queue_name=config.queue, on_failure=_storing_failed, **RETRIES)
def store_asset(table: str, pk: Any, column: str, cache_key: str) -> None:
    """Process and store a cached upload (CarrierWave's `StoreAsset`)."""
    Promotion(table, pk, column, cache_key).promote()


@dramatiq.actor(queue_name=config.queue, **RETRIES)
def remove_files(storage: str, keys: list[str]) -> None:
    """Remove files that no row names any more."""
    delete_files(storage, keys)
