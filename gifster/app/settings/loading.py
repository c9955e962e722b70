"""Reads the settings of this process: the file, the profile, the environment. Says what is wrong
with them: each wrong key, where it is set, what its value must be."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gifster.app.errors import SettingsError
from gifster.app.settings.environment import PREFIX, PROFILE, from_environment, variable
from gifster.app.settings.sections import Settings

FILE = Path("settings.toml")
#: These must come from the environment.
SECRETS = [
    ("mail", "password"),
    ("oidc", "client_secret"),
    ("uploads", "secret"),
    ("cache", "secret_access_key"),
    ("store", "secret_access_key"),
]
#: No error shows the value of one of these.
HIDDEN = {key for _, key in SECRETS} | {"metrics_token", "keys"}
#: What a profile changes, unless the file says otherwise in `[profile.<name>.<section>]`.
PROFILES: dict[str, Any] = {
    "development": {
        "auth": {
            "anonymous_uploads": True,
            "anonymous_changes": True,
            "in_house_emails": True,
        },
        "limits": {"enabled": False},
    }
}
#: Of some types of errors, in our words; of the others, pydantic's message will do.
_MESSAGES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a valid integer",
    "model_type": "must be a table",
    "path_type": "must be a path",
    "too_short": "must have at least 1 entry",
}
#: How pydantic begins its messages.
_BEGINNING = re.compile(r"^(Input|String|Dictionary|List|Value) should ")
#: A password in a URL, also one that should have been quoted, or has no scheme before it; and in
#: what libpq takes (`?password=…`, `password=…`).
_PASSWORD = re.compile(r"(?:(?<=://)|(?<=^.)(?!\w+://))([^/@:]*):.*(?=@)")
_PARAMETER = re.compile(r"(password=)[^&\s']+", re.IGNORECASE)


def load(path: Path = FILE, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of this process.

    Parameters:
      path: the settings file; where it does not exist, the defaults of `sections` hold.
      environment: the environment variables, which win over the file.

    Raises:
      SettingsError: the file is not TOML, or a key or value is wrong; names each of them.
    """
    document = _file(path, environment.get(PROFILE, ""))
    variables = from_environment(environment)
    try:
        return Settings.model_validate(_merge(document, variables))
    except ValidationError as error:
        found = error.errors(include_url=False)
        lines = [_line(one, path, variables) for one in found]
        raise SettingsError("wrong settings: " + "; ".join(lines)) from None


def _file(path: Path, profile: str) -> dict[str, Any]:
    """The settings of the file, with those of the profile over them."""
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): run this as a user who may read it"
        ) from None
    changes = document.pop("profile", {})
    if not _is_table(changes) or not all(map(_is_table, changes.values())):
        raise SettingsError(f"{path}: profile: must be tables, such as [profile.development.web]")
    profiles = _merge(PROFILES, changes)
    if profile:
        if profile not in profiles:
            known = ", ".join(profiles)
            raise SettingsError(f"{PROFILE}={profile}: there is no such profile (known: {known})")
        document = _merge(document, profiles[profile])
    for section, key in SECRETS:
        table = document.get(section)
        if isinstance(table, dict) and table.get(key):
            raise SettingsError(
                f"{path}: {section}.{key} is a secret: set {variable([section, key])} instead"
            )
    return document


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both_tables = {k for k, v in changes.items() if _is_table(base.get(k)) and _is_table(v)}
    return base | {k: _merge(base[k], v) if k in both_tables else v for k, v in changes.items()}


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _line(found: ErrorDetails, path: Path, variables: dict[str, Any]) -> str:
    """One error: the key, what its value must be, and where which value is set."""
    keys = [str(part) for part in found["loc"] if part != "[key]"]
    if not keys:  # of several sections together
        return str(found["ctx"]["error"])
    place = _place(keys, path, variables)
    if found["type"] == "extra_forbidden":
        return f"{'.'.join(keys)}: no such key{_meant(keys)} ({place})"
    if found["type"] == "value_error":  # one of ours
        message = str(found["ctx"]["error"])
    elif found["type"] in _MESSAGES:
        message = _MESSAGES[found["type"]]
    else:
        message = _BEGINNING.sub("must ", found["msg"]).partition(", unable to")[0]
    value = found["input"]
    if isinstance(value, str | int | float) and HIDDEN.isdisjoint(keys):
        place += f" has {_shown(value)}"
    return f"{'.'.join(keys)}: {message} ({place})"


def _shown(value: str | float) -> str:
    return _PARAMETER.sub(r"\1…", _PASSWORD.sub(r"\1:…", repr(value)))


def _place(keys: list[str], path: Path, variables: dict[str, Any]) -> str:
    """Where a key is set: a variable, or the file."""
    table: Any = variables
    for depth, key in enumerate(keys):
        if not _is_table(table):
            return variable(keys[:depth])
        if key not in table:
            return str(path)
        table = table[key]
    return f"{PREFIX}{keys[0].upper()}__…" if _is_table(table) else variable(keys)


def _meant(keys: list[str]) -> str:
    """The key that somebody may have had in mind."""
    model: Any = Settings
    for key in keys[:-1]:
        field = model.model_fields.get(key)
        model = None if field is None else field.annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            return ""
    near = difflib.get_close_matches(keys[-1], model.model_fields, n=1)
    return f", did you mean {'.'.join([*keys[:-1], *near])}?" if near else ""
