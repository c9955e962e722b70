"""The environment variables that Gifster reads and sets. `GIFSTER_SECTION__KEY` is a setting; the
environment wins over the file."""

import json
import signal
from collections.abc import Mapping
from typing import Any, get_origin

from gifster.app.errors import SettingsError
from gifster.app.settings.sections import ALONE, Section, Settings

PREFIX = "GIFSTER_"
PROFILE = f"{PREFIX}PROFILE"
#: The supervisor's mark on what it has started: its process id.
SUPERVISED = f"{PREFIX}SUPERVISED"
#: With this signal a web server tells its processes that they are about to stop. Systems ignore it
#: in a process that has no handler yet.
DRAIN = signal.SIGURG
#: Where prometheus_client is told in which folder processes count together.
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
#: These begin like settings, and are none.
RESERVED = {PROFILE, SUPERVISED}


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that environment variables name, nested as in the file.

    Raises:
      SettingsError: a variable names no section, or its list is not JSON; names the variable.
    """
    document: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.upper().startswith(PREFIX) or name.upper() in RESERVED:
            continue
        *sections, key = _path(name)
        table = document
        for section in sections:
            inner = table.get(section)
            table[section] = table = inner if isinstance(inner, dict) else {}
        table[key] = _value(name, [*sections, key], text)
    return document


def variable(path: list[str]) -> str:
    """The variable of a setting, such as `GIFSTER_WEB__PORT`."""
    return PREFIX + "__".join(path).upper()


def _path(name: str) -> list[str]:
    section, *keys = name[len(PREFIX) :].lower().split("__")
    if section not in Settings.model_fields or bool(keys) != (section not in ALONE):
        sections = [field for field in Settings.model_fields if field not in ALONE]
        raise SettingsError(
            f"{name}: no such setting (the form is {PREFIX}SECTION__KEY, "
            f"the sections are {', '.join(sections)})"
        )
    return [section, *keys]


def _value(name: str, path: list[str], text: str) -> Any:
    """Lists and tables are JSON; anything else is written as in the file, without quotes."""
    section: Any = Settings.model_fields[path[0]].annotation
    must_be_json = False
    if path[0] in ALONE:
        return text
    if isinstance(section, type) and issubclass(section, Section):
        key = section.model_fields.get(path[1])
        must_be_json = key is not None and get_origin(key.annotation) is list
        if not must_be_json:
            return text
    try:
        return json.loads(text)
    except ValueError:
        if not must_be_json:  # a queue is a number or a table, a recurring job a text or a table
            return text
        raise SettingsError(
            f"wrong settings: {name}: must be a list in JSON, such as '[\"10.0.0.1\"]'"
        ) from None
