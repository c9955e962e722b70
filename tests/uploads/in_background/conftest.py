"""What these tests share."""

import pytest

from tests.uploads.framework import Application
from tests.uploads.in_background.albums import Album


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Album)
    return application
