"""What the tests of the sweep begin with: records with uploads, and files without a row."""

from typing import Any

import pytest

from gifster.uploads import mount, sweep
from gifster.uploads.sweep import Findings, Why
from gifster.uploads.testing import keep
from tests import images
from tests.combinations import PLATFORMS
from tests.uploads.framework import Application, Company, Person

GIF = images.gif((80, 60))
#: The name of an upload's folder, as the framework makes it.
FOLDER = "0123456789abcdef"

on_both = pytest.mark.parametrize("platform", PLATFORMS, indirect=True)


def sweep_old(*, repair: bool = True, force: bool = False) -> Findings:
    """A sweep for which every file is old enough."""
    return sweep(repair=repair, min_age_s=-60, force=force)


def person(name: str = "Ann") -> Person:
    made = Person(name=name)
    made.avatar = GIF
    made.save()
    return made


def company() -> Company:
    made = Company(name="Acme")
    made.logo = images.still("PNG", (60, 40))
    made.save()
    return made


def orphan(application: Application, model: Any = Person, column: str = "avatar") -> str:
    """A file with a key of the framework that no row names."""
    key = f"{model._meta.table_name}/{column}/9999/{FOLDER}/original.gif"
    keep(application.store, key, GIF)
    return key


def known(monkeypatch: pytest.MonkeyPatch, *models: Any) -> None:
    """Let this process know only these models."""
    monkeypatch.setattr(mount, "_models", dict.fromkeys(models))


def why(found: Findings) -> set[Why]:
    return {item.why for item in found.left_alone}


def reasons(found: Findings) -> str:
    return "\n".join(str(item) for item in found.left_alone)
