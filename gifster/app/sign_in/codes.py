"""The codes of an authenticator app (TOTP, RFC 6238), and recovery codes.

A code works once. Wrong codes of an account are counted in its row, whatever the rate limits say
and whoever types them, so somebody who knows the password guesses a handful a day.
"""

import hashlib
import logging
import secrets
import unicodedata
from datetime import datetime, timedelta
from urllib.parse import quote

from gifster.app.accounts.confirming import require_confirmed
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, NotFound
from gifster.app.models import User, now
from gifster.app.sign_in.notices import tell
from gifster.app.sign_in.tables import AuthenticatorApp, RecoveryCode
from gifster.jobs import transaction
from gifster.uploads.columns.rows import locked_row

logger = logging.getLogger("gifster.app.sign_in")

#: The length of a code, and how many seconds one is shown. Authenticator apps know no others.
DIGITS, STEP_S = 6, 30
#: The codes of the step before and after count, too: clocks differ, and people type slowly.
WINDOW = 1
#: Wrong codes in a row until no code works for a while. It doubles with every `MORE` further ones.
FREE_FAILURES, MORE = 10, 5
LOCKED, LOCKED_AT_MOST = timedelta(minutes=15), timedelta(hours=24)
#: How many recovery codes there are, and their letters: those of Crockford's base 32.
RECOVERY_CODES, RECOVERY_LETTERS = 10, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RECOVERY_LENGTH = 16  # 80 bits


def begin(user: User) -> AuthenticatorApp:
    """A new secret for the authenticator app of a user. It counts for nothing until they confirm it
    with a code.

    Raises:
      Conflict: they have an app already.
      Denied: their address is not confirmed.
    """
    import pyotp

    require_confirmed(user)
    with transaction(db):
        locked_row(user)
        app = AuthenticatorApp.get_or_none(user=user.id)
        if app is not None and app.confirmed_at is not None:
            raise Conflict("app_set_up", "You have an authenticator app already. Remove it first.")
        AuthenticatorApp.delete().where(AuthenticatorApp.user == user.id).execute()
        made: AuthenticatorApp = AuthenticatorApp.create(user=user, secret=pyotp.random_base32())
    return made


def setting_up(user: User) -> AuthenticatorApp | None:
    """The app that a user has begun to set up."""
    return AuthenticatorApp.get_or_none(
        (AuthenticatorApp.user == user.id) & AuthenticatorApp.confirmed_at.is_null()
    )


def uri(app: AuthenticatorApp, account: str, library: str) -> str:
    """The address that an authenticator app scans (Google's Key Uri Format)."""
    label, issuer = f"{quote(library, safe='')}:{quote(account, safe='@')}", quote(library, safe="")
    return (
        f"otpauth://totp/{label}?secret={app.secret}&issuer={issuer}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )


def picture(text: str) -> str:
    """A QR code, as the URL of a picture that has its data in it."""
    import segno

    return str(segno.make(text, error="m").svg_data_uri(scale=5, border=4, light="white"))


def confirm(user: User, code: str) -> list[str]:
    """Make an app that is being set up the user's second factor.

    Parameters:
      code: the one that the app shows now.

    Returns:
      the recovery codes, which are shown this once.

    Raises:
      NotFound: no app is being set up.
      Denied: the code is wrong, or too many were; or their address is not confirmed.
    """
    require_confirmed(user)
    app = setting_up(user)
    if app is None:
        raise NotFound("app_not_begun", "No authenticator app is being set up. Begin once more.")
    _check_app(user, typed(code), confirmed=False)
    with transaction(db):
        locked_row(user)
        AuthenticatorApp.update(confirmed_at=now()).where(
            (AuthenticatorApp.user == user.id) & (AuthenticatorApp.secret == app.secret)
        ).execute()
        made = _new_recovery_codes(user)
        tell(user, "app_added")
    logger.info("authenticator app set up user=%s", user.id)
    return made


def has_app(user: User) -> bool:
    """Whether a user's authenticator app is set up."""
    confirmed = AuthenticatorApp.confirmed_at.is_null(False)
    return bool(
        AuthenticatorApp.select().where(AuthenticatorApp.user == user.id, confirmed).exists()
    )


def remove_app(user: User) -> None:
    """Forget a user's authenticator app, whether it is set up or not."""
    was_set_up = has_app(user)
    AuthenticatorApp.delete().where(AuthenticatorApp.user == user.id).execute()
    if was_set_up:
        tell(user, "app_removed")
        logger.info("authenticator app removed user=%s", user.id)


def check(user: User, code: str) -> None:
    """Use a code of a user's authenticator app, or a recovery code.

    Raises:
      Denied: it is wrong or was used before (`code_wrong`), or too many codes were wrong
        (`codes_locked`); recovery codes work then, too.
    """
    text = typed(code)
    if len(text) == DIGITS:
        _check_app(user, text)
    elif not _use_recovery_code(user, text):
        raise _wrong()


def typed(code: str) -> str:
    """A code without the spaces and dashes that people type or paste, in capital letters."""
    text = unicodedata.normalize("NFKC", code[:100]).upper()
    return "".join(letter for letter in text if letter.isalnum())


def new_recovery_codes(user: User) -> list[str]:
    """New recovery codes in place of those that there are."""
    with transaction(db):
        locked_row(user)
        tell(user, "codes_made")
        return _new_recovery_codes(user)


def recovery_codes_left(user: User) -> int:
    return int(RecoveryCode.select().where(RecoveryCode.user == user.id).count())


def forget_recovery_codes(user: User) -> None:
    RecoveryCode.delete().where(RecoveryCode.user == user.id).execute()


def _check_app(user: User, code: str, *, confirmed: bool = True) -> None:
    """Use a code of the app. What is counted must not be rolled back with the error."""
    with transaction(db):
        app = AuthenticatorApp.get_or_none(
            (AuthenticatorApp.user == user.id)
            & AuthenticatorApp.confirmed_at.is_null(not confirmed)
        )
        app = app and locked_row(app)
        error = _wrong() if app is None else _used(app, code)
    if error is not None:
        raise error


def _used(app: AuthenticatorApp, code: str) -> Denied | None:
    """What is wrong with a code of an app whose row is locked; None if it is used now."""
    if app.locked_until is not None and app.locked_until > now():
        return _locked(app.locked_until)
    step = _step_of(app.secret, code)
    if step is not None and step > app.last_step:
        app.last_step, app.failures, app.locked_until = step, 0, None
        app.save()
        return None
    app.failures += 1
    over = app.failures - FREE_FAILURES
    if over >= 0 and over % MORE == 0:
        app.locked_until = now() + min(LOCKED * 2 ** min(over // MORE, 10), LOCKED_AT_MOST)
        logger.warning(
            "too many wrong codes user=%s failures=%d: somebody has the password, or a clock is "
            "wrong",
            app.user_id,
            app.failures,
        )
    app.save()
    return _wrong()


def _step_of(secret: str, code: str) -> int | None:
    """The time step that a code belongs to; None for a code of no step that counts now."""
    import pyotp

    if not (code.isascii() and code.isdigit()):
        return None
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S)
    try:
        found: int = totp.verify_and_get_timecode(code, for_time=now(), valid_window=WINDOW)
    except pyotp.OTPVerificationError:
        return None
    return found


def _use_recovery_code(user: User, code: str) -> bool:
    mine = (RecoveryCode.user == user.id) & (RecoveryCode.digest == _digest(user, code))
    with transaction(db):
        used = bool(RecoveryCode.delete().where(mine).execute())
        if used:
            tell(user, "code_used")
    if used:
        logger.warning("recovery code used user=%s left=%d", user.id, recovery_codes_left(user))
    return used


def _new_recovery_codes(user: User) -> list[str]:
    forget_recovery_codes(user)
    made = []
    for _ in range(RECOVERY_CODES):
        code = "".join(secrets.choice(RECOVERY_LETTERS) for _ in range(RECOVERY_LENGTH))
        RecoveryCode.create(user=user, digest=_digest(user, code))
        made.append("-".join(code[at : at + 4] for at in range(0, RECOVERY_LENGTH, 4)))
    return made


def _digest(user: User, code: str) -> str:
    # Crockford's rule for letters that people take for digits.
    plain = code.translate(str.maketrans("OIL", "011"))
    return hashlib.sha256(f"{user.id}:{plain}".encode()).hexdigest()


def _wrong() -> Denied:
    return Denied(
        "code_wrong", "The code is wrong, or was used before. Type the one that the app shows now."
    )


def _locked(until: datetime) -> Denied:
    return Denied(
        "codes_locked",
        f"Too many codes were wrong. Codes of the app work again at {until:%Y-%m-%d %H:%M} UTC; "
        "a recovery code or a passkey works now.",
    )
