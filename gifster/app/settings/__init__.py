"""Settings: `settings.toml` and `GIFSTER_*` environment variables as one frozen, typed object.

Only `load()` reads the file and the environment; everything else is handed the result. `sections`
says what can be set, `values` how such values are written, `loading` and `environment` where they
come from.
"""

import os

# Before pydantic is loaded, which would read the metadata of every installed package to find
# plugins.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from gifster.app.errors import SettingsError
from gifster.app.settings.environment import COUNTED_IN, DRAIN, PREFIX, PROFILE, SUPERVISED
from gifster.app.settings.loading import load
from gifster.app.settings.sections import (
    NAMESPACE,
    Auth,
    Broker,
    Cache,
    Database,
    Library,
    Limits,
    Mail,
    Oidc,
    Queue,
    Recurring,
    Retention,
    Search,
    Settings,
    Storage,
    Store,
    Traces,
    Uploads,
    Web,
    Worker,
)

__all__ = [
    "COUNTED_IN",
    "DRAIN",
    "NAMESPACE",
    "PREFIX",
    "PROFILE",
    "SUPERVISED",
    "Auth",
    "Broker",
    "Cache",
    "Database",
    "Library",
    "Limits",
    "Mail",
    "Oidc",
    "Queue",
    "Recurring",
    "Retention",
    "Search",
    "Settings",
    "SettingsError",
    "Storage",
    "Store",
    "Traces",
    "Uploads",
    "Web",
    "Worker",
    "load",
]
