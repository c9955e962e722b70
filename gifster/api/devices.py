"""Device cookies: signed cookies that outlive the session, for browsers that have logged in before.

Strangers who guess passwords use up an account's attempts. Its owner can still log in with a known
browser, which has attempts of its own. The protocol is OWASP's (Slow Down Online Guessing Attacks
with Device Cookies).
"""

import hashlib
import secrets

import itsdangerous
from falcon.asgi import Request, Response

from gifster.api import forwarded
from gifster.app.settings import Web

COOKIE = "gifster_device"
AGE_S = 365 * 86_400


def account_key(email: str) -> str:
    """The key by which attempts for an account are counted. Any text has one, also if there is no
    such account, so that a stranger learns nothing."""
    text = email.strip().lower()[:254]
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Devices:
    """Sets and reads device cookies.

    Parameters:
      secret: signs them. All web processes need the same one.
      web: names the proxies that tell the scheme.
    """

    def __init__(self, secret: str, web: Web) -> None:
        self._signer = itsdangerous.URLSafeTimedSerializer(secret, salt="gifster.api.devices")
        self._web = web

    def remember(self, req: Request, resp: Response, email: str) -> None:
        """Set the device cookie of a browser that has logged in to an account."""
        value = self._signer.dumps([account_key(email), secrets.token_hex(8)])
        resp.set_cookie(
            COOKIE,
            value if isinstance(value, str) else value.decode(),
            max_age=AGE_S,
            path="/login",
            http_only=True,
            same_site="Lax",
            secure=forwarded.is_https(req, self._web),
        )

    def known(self, req: Request, email: str) -> str | None:
        """The name of the browser if it has logged in to this account before, else None."""
        for text in (req.get_cookie_values(COOKIE) or [])[:1]:
            try:
                account, name = self._signer.loads(text, max_age=AGE_S)
            except (itsdangerous.BadData, ValueError, TypeError):
                return None
            return str(name) if account == account_key(email) else None
        return None
