from tests.app.fixtures import *  # noqa: F403 fixtures
from tests.passwords import cheap_passwords  # noqa: F401 a fixture
