"""The routes of this room."""

from collections.abc import Iterator

from gifster.api.context import Context
from gifster.api.sign_in.methods import AppRemove, AppSetUp, Methods, RecoveryCodes
from gifster.api.sign_in.oidc import CALLBACK, OidcBegin, OidcCallback, OidcLink, OidcUnlink
from gifster.api.sign_in.pages import METHODS, SECOND_FACTOR
from gifster.api.sign_in.passkeys import PasskeyLogIn, Passkeys, RemovePasskey
from gifster.api.sign_in.second_factor import SecondFactor
from gifster.app.sign_in import extras
from gifster.app.sign_in.oidc import Provider


def routes(context: Context) -> Iterator[tuple[str, object, str]]:
    """The paths, their resources, and the suffixes of their methods.

    Raises:
      SettingsError: the settings name a sign-in service, and what it needs is not installed.
    """
    settings = context.settings
    provider = None
    if settings.oidc.issuer:
        extras.require("oidc", f"oidc.issuer is {settings.oidc.issuer}")
        auth = settings.auth
        with_groups = bool(auth.allowed_groups or auth.moderator_groups or auth.admin_groups)
        provider = Provider(settings.oidc, with_groups=with_groups)
    context.templates.globals |= {
        "oidc_name": settings.oidc.name if provider else "",
        "with_passwords": settings.auth.passwords,
        "with_second_factor": settings.auth.passwords and extras.installed("second-factor"),
    }
    log_in, mine, app = PasskeyLogIn(context), Passkeys(context), AppSetUp(context)
    yield "/login/oidc", OidcBegin(context, provider), ""
    yield CALLBACK, OidcCallback(context, provider), ""
    yield SECOND_FACTOR, SecondFactor(context), ""
    yield "/login/passkey", log_in, ""
    yield "/login/passkey/options", log_in, "options"
    yield METHODS, Methods(context), ""
    yield f"{METHODS}/app", app, ""
    yield f"{METHODS}/app/confirm", app, "confirm"
    yield f"{METHODS}/app/remove", AppRemove(context), ""
    yield f"{METHODS}/recovery-codes", RecoveryCodes(context), ""
    yield f"{METHODS}/passkeys", mine, ""
    yield f"{METHODS}/passkeys/options", mine, "options"
    yield f"{METHODS}/passkeys/{{passkey_id}}/remove", RemovePasskey(context), ""
    yield f"{METHODS}/link", OidcLink(context, provider), ""
    yield f"{METHODS}/links/{{identity_id}}/remove", OidcUnlink(context), ""
