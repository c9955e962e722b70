"""Signed cookies for the minutes that a log-in takes: what a browser keeps until it comes back.

A browser can read what is in one, but not change it, and cannot use it at another time or for
another purpose.
"""

import hashlib
from typing import Any

import itsdangerous
from falcon.asgi import Request, Response

from gifster.api.forwarded import is_https
from gifster.app.settings import Web
from gifster.app.sign_in.steps import AGE

AGE_S = int(AGE.total_seconds())


class Sealed:
    """The cookies of one purpose.

    Parameters:
      secret: signs them. All web processes need the same one.
      web: names the proxies that tell the scheme.
      name: of the cookies; also their purpose.
      path: the pages that get them.
    """

    def __init__(self, secret: str, web: Web, name: str, path: str) -> None:
        self._signer = itsdangerous.URLSafeTimedSerializer(secret, salt=f"gifster.api.{name}")
        self._web, self._name, self._path = web, name, path

    def put(self, req: Request, resp: Response, values: dict[str, Any], key: str = "") -> None:
        """Give a browser a cookie.

        Parameters:
          values: what it keeps.
          key: tells it from others of this purpose, so that a browser can log in in several tabs.
        """
        value = self._signer.dumps(values)
        resp.set_cookie(
            self._named(key),
            value if isinstance(value, str) else value.decode(),
            max_age=AGE_S,
            path=self._path,
            http_only=True,
            same_site="Lax",
            secure=is_https(req, self._web),
        )

    def get(self, req: Request, key: str = "") -> dict[str, Any] | None:
        """What a browser has kept; None if there is nothing, or it is too old or forged."""
        for text in (req.get_cookie_values(self._named(key)) or [])[:1]:
            try:
                values = self._signer.loads(text, max_age=AGE_S)
            except (itsdangerous.BadData, ValueError, TypeError):
                return None
            return values if isinstance(values, dict) else None
        return None

    def drop(self, resp: Response, key: str = "") -> None:
        """Have a browser forget a cookie."""
        resp.unset_cookie(self._named(key), path=self._path, same_site="Lax")

    def keep_few(self, req: Request, resp: Response, most: int) -> None:
        """Have a browser that sends more cookies of this purpose forget all of them."""
        mine = [name for name in req.cookies if name.startswith(self._name)]
        for name in mine if len(mine) > most else []:
            resp.unset_cookie(name, path=self._path, same_site="Lax")

    def _named(self, key: str) -> str:
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:16] if key else ""
        return self._name + digest
