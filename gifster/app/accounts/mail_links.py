"""The links in mails. They lead to the address in the settings, never to the host that a request
names: its sender could choose a host of their own, and get the secrets of others."""

from gifster.app.hosts import public_url
from gifster.app.settings import Web

#: What comes before the secret in the path of a link. These paths are secrets: they belong into no
#: log.
RESET, CONFIRM, INVITATION = "/password/", "/confirm/", "/invitation/"
SECRET_PATHS = (RESET, CONFIRM, INVITATION)

#: Addresses on which a server listens, and under which nobody reaches it.
_ANY = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}  # noqa: S104


def address_of(web: Web) -> str:
    """The address that links in mails begin with, without a slash at the end: `web.public_url` and
    `web.root_path`; without a public address this machine's, which is good for trying Gifster
    out."""
    if web.home:
        return web.home
    host = _ANY.get(web.host, web.host)
    host = f"[{host}]" if ":" in host else host
    return public_url(f"http://{host}:{web.port}") + web.root_path


def link(web: Web, path: str, secret: str) -> str:
    """The link of a mail.

    Parameters:
      path: one of `SECRET_PATHS`.
    """
    return f"{address_of(web)}{path}{secret}"
