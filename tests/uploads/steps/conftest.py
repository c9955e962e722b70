"""What these tests share."""

import pytest

from tests.uploads.framework import Application
from tests.uploads.steps.cuts import (
    Cut,
    CutShown,
    Reel,
)


@pytest.fixture(autouse=True)
def _tables(application: Application) -> None:
    application.create_tables(Cut, CutShown, Reel)
