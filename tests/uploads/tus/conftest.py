"""What these tests share."""

import pytest

from gifster import uploads
from gifster.uploads import endpoints
from tests.tus import Tus
from tests.uploads.calling import Caller
from tests.uploads.framework import Application
from tests.uploads.tus.films import FilmUploader, Show, who


@pytest.fixture
def app(application: Application) -> Application:
    application.database.bind(uploads.TABLES)
    application.create_tables(*uploads.TABLES, Show)
    return application


@pytest.fixture
def tus(app: Application, kind: str) -> Tus:
    return Tus(Caller(endpoints.tus(FilmUploader, allow=who), kind))


@pytest.fixture
def one(app: Application) -> Tus:
    """A client of an endpoint under WSGI, where the kind does not matter."""
    return Tus(Caller(endpoints.tus(FilmUploader, allow=who), "wsgi"))
