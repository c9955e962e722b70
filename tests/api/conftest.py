from tests.api import quick_router  # noqa: F401 it changes Falcon
from tests.api.site import make_site, site  # noqa: F401 fixtures
from tests.app.accounts.conftest import ann  # noqa: F401 a fixture
from tests.app.fixtures import *  # noqa: F403 fixtures
from tests.passwords import cheap_passwords  # noqa: F401 a fixture
