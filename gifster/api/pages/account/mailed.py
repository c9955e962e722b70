"""What the links in mails lead to: a new password, a confirmed address, an invitation; and the
forms that have such a mail sent.

A `GET` only shows a form: programs that look through mails open their links. The form sends the
secret on. No page says whether an address has an account.
"""

from collections.abc import Callable

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import current_user
from gifster.api.bodies import url_form
from gifster.api.limits import RateLimited
from gifster.api.pages.page import Page, see
from gifster.api.problems import problem_for
from gifster.app import addresses
from gifster.app.accounts import confirming, invitations, mail_secrets, password_changes
from gifster.app.accounts.mail_secrets import Purpose
from gifster.app.errors import LibraryError
from gifster.app.sign_in import claiming


class MailForm(Page):
    """A form that comes back with what went wrong."""

    open_to_strangers = True

    async def refuse(
        self, req: Request, resp: Response, template: str, error: Exception, **values: object
    ) -> None:
        """Show the form once more, with what is wrong."""
        problem = problem_for(error)
        resp.status = problem.status
        resp.set_headers(problem.headers or {})
        await self.render(req, resp, template, error=error, **values)


class AskForMail(MailForm):
    """A form for an address, to which a worker sends a mail: `/forgot` and `/confirm`.

    Parameters:
      template: of the form; also of the answer, which is always the same.
      ask: writes the job.
    """

    template: str
    ask: Callable[[str], None]

    async def on_get(self, req: Request, resp: Response) -> None:
        sent = req.get_param_as_bool("sent") or False
        await self.render(req, resp, self.template, sent=sent, email="", error=None)

    async def _ask(self, req: Request, resp: Response) -> None:
        email = (await url_form(self.context, req)).get("email", "")

        def work() -> None:
            # The address is checked first: a typing error costs nobody one of their mails.
            self.context.limits.mail(req, addresses.canonical(email, in_house=True))
            type(self).ask(email)

        try:
            await self.context.run(work)
        except (LibraryError, RateLimited) as error:
            await self.refuse(req, resp, self.template, error, email=email, sent=False)
            return
        see(resp, f"{req.path.removesuffix('/again')}?sent=1")


def require_passwords(page: Page) -> None:
    """Raise a 404 where nobody logs in with a password."""
    if not page.context.settings.auth.passwords:
        raise falcon.HTTPNotFound


class Forgot(AskForMail):
    """`/forgot`."""

    template = "account/forgot.html"
    ask = staticmethod(password_changes.ask_for_reset)

    async def on_get(self, req: Request, resp: Response) -> None:
        require_passwords(self)
        await super().on_get(req, resp)

    async def on_post(self, req: Request, resp: Response) -> None:
        require_passwords(self)
        await self._ask(req, resp)


class NewPassword(MailForm):
    """`/password/{secret}` shows the form, and `/password` takes it."""

    template = "account/new_password.html"

    async def on_get_secret(self, req: Request, resp: Response, secret: str) -> None:
        require_passwords(self)
        try:
            found = await self.context.run(mail_secrets.find, secret, Purpose.RESET)
        except LibraryError as error:
            await self.refuse(req, resp, self.template, error, secret="", email="")
            return
        await self.render(req, resp, self.template, secret=secret, email=found.email, error=None)

    async def on_post(self, req: Request, resp: Response) -> None:
        require_passwords(self)
        form = await url_form(self.context, req)
        secret = form.get("secret", "")

        def work() -> None:
            password_changes.reset_password(
                secret,
                form.get("password", ""),
                revoke="revoke" in form,
                claimed=claiming.end_ways_in,
            )

        try:
            await self.context.run(work)
        except LibraryError as error:
            again = secret if error.code == "password_invalid" else ""
            email = form.get("email", "")
            await self.refuse(req, resp, self.template, error, secret=again, email=email)
            return
        see(resp, "/login?done=password")


class Confirm(AskForMail):
    """`/confirm/{secret}` shows a button, and `/confirm` takes it; `/confirm/again` sends another
    mail."""

    template = "account/confirm.html"
    ask = staticmethod(confirming.ask_for_confirmation)

    async def on_get_secret(self, req: Request, resp: Response, secret: str) -> None:
        try:
            found = await self.context.run(mail_secrets.find, secret, Purpose.CONFIRM)
        except LibraryError as error:
            await self.refuse(req, resp, self.template, error, email="", sent=False)
            return
        await self.render(
            req, resp, "account/confirm_button.html", secret=secret, email=found.email
        )

    async def on_post(self, req: Request, resp: Response) -> None:
        secret = (await url_form(self.context, req)).get("secret", "")
        try:
            await self.context.run(confirming.confirm, secret)
        except LibraryError as error:
            await self.refuse(req, resp, self.template, error, email="", sent=False)
            return
        logged_in = await current_user(self.context, req) is not None
        see(resp, "/account?done=confirmed" if logged_in else "/login?done=confirmed")

    async def on_post_again(self, req: Request, resp: Response) -> None:
        await self._ask(req, resp)


class Invited(MailForm):
    """`/invitation/{secret}`: the form to sign up, with an invitation."""

    async def on_get(self, req: Request, resp: Response, secret: str) -> None:
        mode = self.context.settings.auth.sign_up
        try:
            found = await self.context.run(invitations.check_may_sign_up, mode, secret)
        except LibraryError as error:
            await self.refuse(req, resp, "signup.html", error, values={"next": "/"}, may=False)
            return
        values = {"next": "/", "invitation": secret, "email": found.email if found else ""}
        await self.render(req, resp, "signup.html", values=values, error=None, may=True)
