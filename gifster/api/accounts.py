"""People by HTTP: signing up (`/api/users`), one's own account (`/api/account`), and one's own
sessions and tokens (`/api/tokens`, `/api/tokens/{id}`)."""

from typing import TypedDict

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import forget_session, require_token
from gifster.api.context import Context
from gifster.api.form_tokens import SESSION
from gifster.api.requests import CreateToken, EditAccount, SignUp
from gifster.api.validation import json_body
from gifster.app import accounts, addresses, library, tokens
from gifster.app.accounts import profile
from gifster.app.accounts.invitations import check_may_sign_up, is_for
from gifster.app.accounts.tables import Invitation
from gifster.app.models import Token, User, rfc3339
from gifster.app.moderation.roles import role_of
from gifster.app.sign_in import check_passwords
from gifster.app.tokens import Scope


class _Common(TypedDict):
    in_house: bool
    invitation: Invitation | None


class Users:
    """`POST` makes an account. The answer has an API token, shown this once."""

    open_to_strangers = True

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Request, resp: Response) -> None:
        wish = await json_body(self.context, req, SignUp)
        settings = self.context.settings.auth
        check_passwords(settings)

        def work() -> schemas.NewUser:
            self.context.limits.sign_up(req)
            invitation = check_may_sign_up(settings.sign_up, wish.invitation)
            fields = wish.email, wish.password, wish.name
            common: _Common = {"in_house": settings.in_house_emails, "invitation": invitation}
            to_confirm = not is_for(invitation, wish.email)
            secret: str | None = None
            if settings.confirm_emails and to_confirm:
                self.context.limits.mail(req, addresses.account_of(wish.email))
                user = accounts.sign_up_to_confirm(*fields, **common)
            else:
                # Without a browser the account has only this token, which can make narrower ones.
                user, secret = accounts.sign_up_with_token(
                    *fields, **common, days=settings.token_days
                )
            return {"id": user.id, "name": user.name, "email": user.email, "token": secret}

        resp.media = await self.context.run(work)
        resp.status = falcon.HTTP_201


class OwnAccount:
    """`GET` tells about one's own account, `PATCH` gives it another name."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.READ)
        resp.media = await self.context.run(self._told, mine.user)

    async def on_patch(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        wish = await json_body(self.context, req, EditAccount)

        def work() -> schemas.Account:
            mine.user.name = profile.rename(mine.user, wish.name)
            return self._told(mine.user)

        resp.media = await self.context.run(work)

    def _told(self, user: User) -> schemas.Account:
        gifs, size = library.used(user)
        quota = self.context.quota
        return {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "confirmed": user.confirmed_at is not None,
            "new_email": user.new_email,
            "role": role_of(user).value,
            "created_at": rfc3339(user.created_at),
            "used": {"gifs": gifs, "bytes": size},
            "quota": None if quota is None else {"gifs": quota.gifs, "bytes": quota.bytes},
        }


def token_json(token: Token, current: Token) -> schemas.Token:
    """A session or a token as JSON. `current`: the one that the request was made with."""
    used_at, expires_at = token.last_used_at, token.expires_at
    return {
        "id": token.id,
        "kind": token.kind,
        "name": token.name,
        "scope": token.scope,
        "created_at": rfc3339(token.created_at),
        "last_used_at": used_at and rfc3339(used_at),
        "expires_at": expires_at and rfc3339(expires_at),
        "current": token.id == current.id,
    }


class Tokens:
    """`GET` lists them, `POST` makes a token, `DELETE` logs out everywhere."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.READ)
        found = await self.context.run(tokens.tokens_of, mine.user)
        listed: schemas.TokenList = {
            "items": [token_json(token, mine) for token in found],
            "next": None,
        }
        resp.media = listed

    async def on_post(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        wish = await json_body(self.context, req, CreateToken)
        days = wish.expires_in_days
        if "expires_in_days" not in wish.model_fields_set:
            days = self.context.settings.auth.token_days
        token, secret = await self.context.run(
            tokens.create_token, mine.user, wish.name, wish.scope, days, by=mine
        )
        made: schemas.NewToken = {**token_json(token, mine), "token": secret}
        resp.media = made
        resp.status = falcon.HTTP_201

    async def on_delete(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        number = await self.context.run(tokens.log_out_everywhere, mine.user)
        revoked: schemas.Revoked = {"revoked": number}
        resp.media = revoked
        if SESSION in req.cookies:
            forget_session(resp)


class OneToken:
    """`DELETE` revokes a token or ends a session. Any token may revoke itself: so one that leaks
    is made harmless at once."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_delete(self, req: Request, resp: Response, token_id: str) -> None:
        mine: Token = await require_token(self.context, req, Scope.READ)
        if token_id != mine.id:
            await require_token(self.context, req, Scope.ADMIN)
        await self.context.run(tokens.revoke, token_id, mine.user)
        resp.status = falcon.HTTP_204
