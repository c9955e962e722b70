"""Where the links of mails lead."""

from typing import Any

import pytest

from gifster.app.accounts.mail_links import CONFIRM, link
from gifster.app.settings import Web


@pytest.mark.parametrize(
    ("web", "address"),
    [
        ({"public_url": "https://gifs.example.org"}, "https://gifs.example.org"),
        (
            {"public_url": "https://example.org", "root_path": "/gifs"},
            "https://example.org/gifs",
        ),
        ({"root_path": "/gifs"}, "http://127.0.0.1:8000/gifs"),
        ({"host": "0.0.0.0", "port": 9000}, "http://localhost:9000"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"host": "10.0.0.1", "port": 80}, "http://10.0.0.1"),
    ],
)
def test_links_lead_where_the_settings_say(web: dict[str, Any], address: str):
    assert link(Web(**web), CONFIRM, "secret") == f"{address}/confirm/secret"
