"""Signing up by HTTP: `POST /api/users`."""

from typing import Any

import falcon

from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.api.receive import json_object
from gifster.api.representation import user_json
from gifster.app import accounts, tokens
from gifster.app.models import User
from gifster.app.tokens import Scope


class Users:
    """`POST` makes an account. The answer has an API token, shown this once."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Any, resp: Any) -> None:
        body = await json_object(self.context, req)
        values = {name: body.get(name, "") for name in ("email", "password", "name")}
        if wrong := [name for name, value in values.items() if not isinstance(value, str)]:
            raise Problem(422, f"{wrong[0]}_invalid", f"{wrong[0]} must be a text.")

        def work() -> tuple[User, str]:
            self.context.limits.sign_up(req)
            user = accounts.sign_up(**values, in_house=self.context.settings.auth.in_house_emails)
            # Without a browser it is all that the account has, to make narrower ones with, too.
            days = self.context.settings.auth.token_days
            return user, tokens.create_token(user, "sign-up", Scope.ADMIN, days)[1]

        user, token = await self.context.run(work)
        resp.status = falcon.HTTP_201
        resp.media = {**user_json(user), "token": token}
