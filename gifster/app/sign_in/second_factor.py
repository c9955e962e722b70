"""The second factor of a user: an authenticator app, passkeys, or both; and recovery codes for when
they are lost. It is asked for after a password. A sign-in service and a proxy ask for their own."""

from gifster.app.accounts.standing import check_admin
from gifster.app.database import db
from gifster.app.models import Token, User
from gifster.app.moderation.log import Action, note_account
from gifster.app.sign_in import codes, passkeys
from gifster.app.sign_in.tables import AuthenticatorApp, Passkey
from gifster.app.tokens import Kind
from gifster.jobs import transaction


def is_needed(user: User) -> bool:
    """Whether a password alone does not log a user in."""
    return codes.has_app(user) or bool(Passkey.select().where(Passkey.user == user.id).exists())


def is_new(user: User, current: Token) -> int:
    """Called when a user has got a second factor: the sessions that were begun without it end,
    except the one that they use now. Returns how many ended."""
    others = (
        (Token.user == user.id) & (Token.kind == Kind.SESSION) & (Token.digest != current.digest)
    )
    return int(Token.delete().where(others).execute())


def without_app(user: User) -> None:
    """Remove a user's authenticator app."""
    with transaction(db):
        codes.remove_app(user)
        _forget_codes_of_nothing(user)


def without_passkey(user: User, passkey_id: str) -> None:
    """Remove one of a user's passkeys.

    Raises:
      NotFound: they have no such passkey.
    """
    with transaction(db):
        passkeys.remove(user, passkey_id)
        _forget_codes_of_nothing(user)


def remove_all(user: User, *, noted: bool = False, by: User | None = None, reason: str = "") -> int:
    """Remove the app, the passkeys and the recovery codes of a user who has lost them, for the
    people who run the library. Returns how many factors they had.

    Parameters:
      noted: whether the log of moderation has it.
      by: the admin who decides; None for a command.
      reason: why; may be empty.

    Raises:
      Conflict, Denied: as `standing.disable()`.
    """
    with transaction(db):
        if by is not None:
            check_admin(by, user)
        removed = int(AuthenticatorApp.delete().where(AuthenticatorApp.user == user.id).execute())
        removed += int(Passkey.delete().where(Passkey.user == user.id).execute())
        codes.forget_recovery_codes(user)
        if noted and removed:
            note_account(Action.FACTOR_OFF, user, {"factors": (removed, 0)}, by, reason)
    return removed


def _forget_codes_of_nothing(user: User) -> None:
    if not is_needed(user):
        codes.forget_recovery_codes(user)
