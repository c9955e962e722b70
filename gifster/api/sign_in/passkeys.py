"""Passkeys, for the script `sign-in.js`: JSON goes to the browser's own dialogs and back.

`/login/passkey` logs in, after a password or alone; `/account/sign-in/passkeys` adds one. The
challenge is in a signed cookie, and each is used once.
"""

import base64
import json
from typing import Any

from falcon.asgi import Request, Response

from gifster.api.bodies import json_object, url_form
from gifster.api.context import Context
from gifster.api.pages.page import Page, see
from gifster.api.problems import Problem
from gifster.api.sign_in.pages import (
    METHODS,
    MethodsPage,
    logged_in,
    waiting,
    waiting_cookie,
    whose,
)
from gifster.api.sign_in.sealed import Sealed
from gifster.api.way_back import local_path
from gifster.app import accounts
from gifster.app.errors import Denied
from gifster.app.models import Token, User
from gifster.app.sign_in import extras, passkeys, second_factor, steps
from gifster.app.sign_in.passkeys import Asked
from gifster.uploads.config import config


def check_on(context: Context) -> None:
    """Raise `Problem` (404) where there are no passkeys: they go with passwords."""
    if not (context.settings.auth.passwords and extras.installed("second-factor")):
        raise Problem(404, "not_found", "This library has no passkeys.")


class Challenges:
    """The challenges that browsers were given.

    Parameters:
      name: of the cookie.
      path: the pages that get it.
    """

    def __init__(self, context: Context, name: str, path: str) -> None:
        self._context = context
        self._cookie = Sealed(config.secret, context.settings.web, name, path)

    def ask(self, req: Request, resp: Response, asked: Asked, whose: str) -> None:
        """Answer with the options for a browser, which keeps the challenge.

        Parameters:
          whose: for whom it is; only they can answer it.
        """
        challenge = base64.b64encode(asked.challenge).decode()
        self._cookie.put(req, resp, {"challenge": challenge, "whose": whose})
        resp.media = json.loads(asked.options)

    async def answered(self, req: Request, resp: Response, whose: str) -> bytes:
        """The challenge that a browser answers. It cannot answer it again.

        Raises:
          Denied: it has none, or one of somebody else's.
        """
        kept = self._cookie.get(req)
        self._cookie.drop(resp)
        if kept is None or kept.get("whose") != whose:
            raise Denied("passkey_expired", "That took too long. Try again.")
        if not await self._context.run(steps.use_once, f"passkey {kept['challenge']}"):
            raise Denied("passkey_expired", "This answer was used already. Try again.")
        return base64.b64decode(kept["challenge"])


def credential_of(document: dict[str, object]) -> dict[str, Any]:
    """The credential that a browser sends.

    Raises:
      Problem: 422, there is none.
    """
    credential = document.get("credential")
    if not isinstance(credential, dict):
        raise Problem(422, "credential_missing", "Send the passkey's answer as `credential`.")
    return credential


class PasskeyLogIn(Page):
    """`POST /login/passkey/options`, then `POST /login/passkey`."""

    open_to_strangers = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._challenges = Challenges(context, "gifster_passkey", "/login")

    async def on_post_options(self, req: Request, resp: Response) -> None:
        check_on(self.context)
        _, user = await waiting(self.context, req) or (None, None)
        origin = self.context.origin(req)
        asked = await self.context.run(passkeys.ask, origin, user)
        self._challenges.ask(req, resp, asked, user.id if user else "")

    async def on_post(self, req: Request, resp: Response) -> None:
        check_on(self.context)
        document = await json_object(self.context, req)
        await self.context.run_unconnected(self.context.limits.check_sign_in, req)
        secret, user = await waiting(self.context, req) or (None, None)
        challenge = await self._challenges.answered(req, resp, user.id if user else "")
        credential, origin = credential_of(document), self.context.origin(req)

        def check() -> User:
            owner = passkeys.check(credential, challenge, origin, user)
            if secret is not None and not steps.end(secret):
                raise Denied("step_ended", "This log-in has ended. Log in again.")
            confirmed_only = self.context.settings.auth.confirm_emails
            accounts.check_may_log_in(owner, confirmed_only=confirmed_only)
            return owner

        try:
            owner = await self.context.run(check)
        except Denied:
            await self.context.run_unconnected(self.context.limits.sign_in_failed, req)
            raise
        waiting_cookie(self.context).drop(resp)
        await logged_in(self.context, req, resp, owner)
        resp.media = {"location": local_path(str(document.get("next") or "/"))}


class Passkeys(MethodsPage):
    """`POST /account/sign-in/passkeys/options`, then `POST /account/sign-in/passkeys`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._challenges = Challenges(context, "gifster_new_passkey", METHODS)

    async def fresh(self, req: Request) -> Token:
        check_on(self.context)
        return await super().fresh(req)

    async def on_post_options(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        origin = self.context.origin(req)
        asked = await self.context.run(passkeys.ask_for_new, token.user, origin)
        self._challenges.ask(req, resp, asked, whose(token))

    async def on_post(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        document = await json_object(self.context, req)
        challenge = await self._challenges.answered(req, resp, whose(token))
        credential, origin = credential_of(document), self.context.origin(req)
        name = document.get("name")

        def work() -> None:
            user, is_first = token.user, not second_factor.is_needed(token.user)
            text = name if isinstance(name, str) else ""
            passkeys.add(token, credential, challenge, origin, text)
            if is_first:
                second_factor.is_new(user, token)

        await self.context.run(work)
        resp.media = {"location": METHODS}


class RemovePasskey(MethodsPage):
    """`POST /account/sign-in/passkeys/{passkey_id}/remove`."""

    async def on_post(self, req: Request, resp: Response, passkey_id: str) -> None:
        token = await self.fresh(req)
        await url_form(self.context, req)
        await self.context.run(second_factor.without_passkey, token.user, passkey_id)
        see(resp, METHODS)
