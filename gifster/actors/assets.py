"""The background work of uploads: the framework's own actors, for the models loaded here."""

from gifster.actors import setup  # noqa: F401
from gifster.app import models  # noqa: F401
from gifster.uploads.actors import (
    complete_asset,
    process_asset,
    recreate_versions,
    remove_files,
    store_asset,
    update_versions,
)

__all__ = [
    "complete_asset",
    "process_asset",
    "recreate_versions",
    "remove_files",
    "store_asset",
    "update_versions",
]
