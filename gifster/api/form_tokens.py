"""Form tokens: they tell a page of ours from one of another site, where nothing else does.

Behind a proxy that replaces the `Host`, and without TLS, a browser says only the address of the
page that it sends a form from, and Gifster has nothing to compare that with (`same_origin`). So
pages that were asked for in this way carry a token, which belongs to a cookie of the browser: the
session's, or one made for this. No page of another site can read it.
"""

import hashlib
import re
import secrets

import itsdangerous
import jinja2
from falcon.asgi import Request, Response
from jinja2.ext import Extension

from gifster.api.forwarded import is_https
from gifster.app.settings import Web
from gifster.uploads.config import config

#: The cookies of browsers that are logged in, and of those that are not.
SESSION, COOKIE = "gifster_session", "gifster_form"
#: Where requests have the token: forms in a field, scripts in a header.
FIELD, HEADER = "form_token", "X-Form-Token"

#: The methods that bring the cookie from wherever they come.
SAFE = {"GET", "HEAD"}

#: A tag `<form …>` of a template, which may have expressions of Jinja in it.
_FORM = re.compile(r"<form\b(?:\{\{.*?\}\}|\{%.*?%\}|[^>{]|\{(?![{%]))*>", re.DOTALL)
_POSTS = re.compile(r"""\b(?:form)?method\s*=\s*["']?post\b""", re.IGNORECASE)
_INSERTED = (
    f'{{% if {FIELD} %}}<input type="hidden" name="{FIELD}" value="{{{{ {FIELD} }}}}">{{% endif %}}'
)


class FormTokens:
    """Makes and checks the tokens.

    Parameters:
      web: if it has the public address, no page needs a token.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._signer = itsdangerous.Signer(
            config.secrets or [config.secret],
            salt="gifster.api.form_tokens",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )

    def for_page(self, req: Request, resp: Response) -> str:
        """The token of the page that answers a request. It is empty where the origin of its forms
        can be checked without one. A browser that has no cookie gets one."""
        if self._web.public_url or req.get_header("Sec-Fetch-Site") is not None:
            return ""
        holder = _holder(req)
        if holder is None and req.method not in SAFE:
            # A form of another site comes without the cookie. It must not get a new one, which
            # would make the forms of our open pages stale.
            return ""
        if holder is None:
            value = secrets.token_urlsafe(24)
            # Not Strict: a page that a link on another site leads to would get a new cookie, and
            # forms that are open in other tabs would be refused.
            secure = is_https(req, self._web)
            resp.set_cookie(COOKIE, value, path="/", http_only=True, same_site="Lax", secure=secure)
            holder = f"{COOKIE} {value}"
        return self._signer.get_signature(holder).decode()

    def hold(self, req: Request, token: str) -> bool:
        """Whether a token is that of a request's cookie."""
        holder = _holder(req)
        return holder is not None and self._signer.verify_signature(holder, token)


def _holder(req: Request) -> str | None:
    """What a token is made for. Of a browser that has both cookies, it is the session: a token of
    before the log-in does not count."""
    for name in (SESSION, COOKIE):
        if values := req.get_cookie_values(name):
            return f"{name} {values[0]}"
    return None


class FormTokenFields(Extension):
    """Begins each form of a template that posts with a hidden field for the token."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The source of a template with these fields.

        Raises:
          TemplateSyntaxError: a form that posts was not recognized, so it would be refused.
        """
        changed = _FORM.sub(_with_field, source)
        if changed.count(_INSERTED) != len(_POSTS.findall(source)):
            raise jinja2.TemplateSyntaxError(
                'a form with method="post" is not written as one tag', 1, name, filename
            )
        return changed


def _with_field(form: re.Match[str]) -> str:
    return form[0] + _INSERTED if _POSTS.search(form[0]) else form[0]
