"""One's own sessions and tokens by HTTP: `/api/tokens`, `/api/tokens/{id}`."""

from typing import Any

import falcon

from gifster.api.auth import COOKIE, forget_session, require_token
from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.api.receive import json_object
from gifster.api.representation import token_json
from gifster.app import tokens
from gifster.app.models import Token
from gifster.app.tokens import Scope

FIELDS = {"name", "scope", "expires_in_days"}


class Tokens:
    """`GET` lists them, `POST` makes a token, `DELETE` logs out everywhere."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Any, resp: Any) -> None:
        mine = await require_token(self.context, req, Scope.READ)
        found = await self.context.run(tokens.tokens_of, mine.user)
        resp.media = {"items": [token_json(token, mine) for token in found], "next": None}

    async def on_post(self, req: Any, resp: Any) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        name, scope, days = self._wish(await json_object(self.context, req))
        made, secret = await self.context.run(
            tokens.create_token, mine.user, name, scope, days, by=mine
        )
        resp.status = falcon.HTTP_201
        resp.media = {**token_json(made, mine), "token": secret}

    def _wish(self, body: dict[str, Any]) -> tuple[str, str, int | None]:
        if unknown := set(body) - FIELDS:
            raise Problem(422, "field_unknown", f"There is no field {sorted(unknown)[0]!r}.")
        texts = {"name": body.get("name", ""), "scope": body.get("scope", Scope.WRITE)}
        for field, value in texts.items():
            if not isinstance(value, str):
                raise Problem(422, f"{field}_invalid", f"{field} must be a text.")
        days = body.get("expires_in_days", self.context.settings.auth.token_days)
        if days is not None and type(days) is not int:  # true is an int, too
            raise Problem(
                422, "expires_in_days_invalid", "expires_in_days must be a whole number, or null."
            )
        return texts["name"], texts["scope"], days

    async def on_delete(self, req: Any, resp: Any) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        resp.media = {"revoked": await self.context.run(tokens.log_out_everywhere, mine.user)}
        if COOKIE in req.cookies:
            forget_session(resp)


class OneToken:
    """`DELETE` revokes a token or ends a session. Any token may revoke itself: so one that leaks
    is made harmless at once."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_delete(self, req: Any, resp: Any, token_id: str) -> None:
        mine: Token = await require_token(self.context, req, Scope.READ)
        if token_id != mine.id:
            await require_token(self.context, req, Scope.ADMIN)
        await self.context.run(tokens.revoke, token_id, mine.user)
        resp.status = falcon.HTTP_204
