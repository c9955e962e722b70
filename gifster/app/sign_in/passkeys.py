"""Passkeys (WebAuthn): a key pair of a device, whose private half never leaves it, and which works
at this library's own address alone, so no page that looks like it can ask for it.

After a password a passkey is the second factor. One that checks who holds the device (by PIN,
finger or face) logs in by itself. The rules are those of WebAuthn 3, 7.1 and 7.2; the package
`webauthn` checks them.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import peewee

from gifster.app import texts, tokens
from gifster.app.accounts.confirming import require_confirmed
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.hosts import parse_host
from gifster.app.models import Token, User, now
from gifster.app.sign_in.notices import tell
from gifster.app.sign_in.tables import Passkey
from gifster.jobs import transaction
from gifster.uploads.columns.rows import locked_row

if TYPE_CHECKING:
    from webauthn.registration.verify_registration_response import VerifiedRegistration

logger = logging.getLogger("gifster.app.sign_in")

#: Of one user.
MAX_PASSKEYS = 20
#: What `webauthn` also raises about an answer that no browser sends.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
#: What the browser shows as the name of the library.
LIBRARY = "Gifster"


@dataclass(frozen=True)
class Asked:
    """What a browser is asked: the options as JSON, and the challenge that its answer must sign."""

    options: str
    challenge: bytes


def domain(origin: str) -> str:
    """The name to which passkeys are bound: that of the library's address.

    Parameters:
      origin: the address, such as `https://gifs.example.org`.

    Raises:
      Invalid: it is an IP address, to which no browser binds a passkey; or the page comes without
        TLS from another machine (https://www.w3.org/TR/secure-contexts/#is-origin-trustworthy).
    """
    parts = urlsplit(origin)
    host, port = parse_host(parts.netloc)
    if ":" in host or host.rpartition(".")[2].isdigit():
        raise Invalid(
            "passkeys_need_a_name",
            f"Passkeys need an address with a name, and this library's is {origin}. Open it by its "
            f"name, such as http://localhost{f':{port}' if port else ''} on this machine.",
        )
    if parts.scheme != "https" and f".{host}".rpartition(".")[2] != "localhost":
        raise Invalid(
            "passkeys_need_https",
            f"Passkeys need https, and this library's address is {origin}. Open it by its address "
            "that begins with https, if it has one.",
        )
    return host


def why_none(origin: str) -> str:
    """Why no browser has passkeys at an address, in a sentence; empty if it may have some.

    Parameters:
      origin: as `domain()`.
    """
    try:
        domain(origin)
    except Invalid as error:
        return str(error)
    return ""


def ask_for_new(user: User, origin: str) -> Asked:
    """What makes a browser offer to create a passkey for a user.

    Raises:
      Denied: their address is not confirmed.
    """
    import webauthn
    from webauthn.helpers import structs

    require_confirmed(user)
    options = webauthn.generate_registration_options(
        rp_id=domain(origin),
        rp_name=LIBRARY,
        user_id=user.id.encode(),
        user_name=user.email,
        user_display_name=user.name,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.PREFERRED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(user),
    )
    return Asked(webauthn.options_to_json(options), options.challenge)


def add(by: Token, answer: dict[str, Any], challenge: bytes, origin: str, name: str) -> Passkey:
    """The passkey that a browser has created.

    Parameters:
      by: the session of its user.
      answer: the credential, as browsers write it in JSON.
      challenge: of `ask_for_new()`.
      name: the user's name for it, at most 100 characters.

    Raises:
      Invalid: the name or the answer is invalid.
      Denied: the user has 20 already, their address is not confirmed, or the session has ended
        meanwhile.
      Conflict: somebody has this passkey already.
    """
    user, name = by.user, texts.person(name) or "Passkey"
    require_confirmed(user)
    verified = _verified(answer, challenge, origin)
    try:
        with transaction(db):
            locked_row(user)  # two requests at once cannot share the last place
            tokens.check_not_revoked(by)
            if Passkey.select().where(Passkey.user == user.id).count() >= MAX_PASSKEYS:
                raise Denied(
                    "too_many_passkeys",
                    f"You have {MAX_PASSKEYS} passkeys, which is the most. Remove one first.",
                )
            made: Passkey = Passkey.create(
                user=user,
                credential=_base64url(verified.credential_id),
                public_key=verified.credential_public_key,
                sign_count=verified.sign_count,
                name=name,
            )
            tell(user, "passkey_added")
    except peewee.IntegrityError:
        raise Conflict("passkey_taken", "This passkey is set up already.") from None
    logger.info("passkey added user=%s passkey=%s", user.id, made.id)
    return made


def _verified(answer: dict[str, Any], challenge: bytes, origin: str) -> "VerifiedRegistration":
    import webauthn
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=domain(origin),
            expected_origin=origin,
        )
    except (WebAuthnException, *UNREADABLE) as error:
        raise _refused(error) from None


def ask(origin: str, user: User | None) -> Asked:
    """What makes a browser offer passkeys.

    Parameters:
      user: whose second factor is asked for; None for a log-in by a passkey alone. Only the former
        is told which passkeys there are, so that a stranger learns nothing of an account.
    """
    import webauthn
    from webauthn.helpers import structs

    needed = structs.UserVerificationRequirement
    options = webauthn.generate_authentication_options(
        rp_id=domain(origin),
        allow_credentials=_descriptors(user) if user else [],
        user_verification=needed.PREFERRED if user else needed.REQUIRED,
    )
    return Asked(webauthn.options_to_json(options), options.challenge)


def check(answer: dict[str, Any], challenge: bytes, origin: str, user: User | None) -> User:
    """The user whose passkey has signed a challenge.

    Parameters:
      answer: the credential, as browsers write it in JSON.
      challenge: of `ask()`. The caller sees to it that it is used once.
      user: as `ask()`.

    Raises:
      Denied: the passkey is unknown or another user's, or the answer is invalid.
    """
    import webauthn
    from webauthn.helpers.exceptions import WebAuthnException

    credential = answer.get("id")
    found = (
        Passkey.get_or_none(credential=credential)
        if isinstance(credential, str) and credential.isascii() and len(credential) <= 1364
        else None
    )
    if found is None or (user is not None and found.user_id != user.id):
        raise _unknown()
    try:
        verified = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=domain(origin),
            expected_origin=origin,
            credential_public_key=bytes(found.public_key),
            credential_current_sign_count=found.sign_count,
            require_user_verification=user is None,
        )
    except (WebAuthnException, *UNREADABLE) as error:
        logger.warning("passkey refused user=%s reason=%r", found.user_id, str(error)[:200])
        raise _unknown() from None
    _note_use(found, verified.new_sign_count)
    owner: User = found.user
    return owner


def of(user: User) -> list[Passkey]:
    """The passkeys of a user, the oldest first."""
    return list(
        Passkey.select().where(Passkey.user == user.id).order_by(Passkey.created_at, Passkey.id)
    )


def remove(user: User, passkey_id: str) -> None:
    """Forget a passkey.

    Raises:
      NotFound: the user has no such passkey.
    """
    query = Passkey.delete().where((Passkey.user == user.id) & (Passkey.id == passkey_id[:12]))
    if not query.execute():
        raise NotFound("passkey_not_found", "You have no such passkey (any more).")
    tell(user, "passkey_removed")
    logger.info("passkey removed user=%s passkey=%.12s", user.id, passkey_id)


def _note_use(passkey: Passkey, sign_count: int) -> None:
    """Of two answers with the same count, one is a copy (WebAuthn 3, 7.2, step 22)."""
    unchanged = (Passkey.id == passkey.id) & (Passkey.sign_count == passkey.sign_count)
    used = Passkey.update(sign_count=sign_count, last_used_at=now()).where(unchanged).execute()
    if not used:
        raise _unknown()


def _descriptors(user: User) -> list[Any]:
    from webauthn import base64url_to_bytes
    from webauthn.helpers import structs

    return [
        structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(passkey.credential))
        for passkey in of(user)
    ]


def _base64url(content: bytes) -> str:
    from webauthn.helpers import bytes_to_base64url

    return bytes_to_base64url(content)


def _refused(error: Exception) -> Invalid:
    return Invalid("passkey_invalid", f"The passkey was not added: {str(error)[:200]}. Try again.")


def _unknown() -> Denied:
    return Denied(
        "passkey_refused",
        "This passkey does not log in here. Use another one, or your password and a code.",
    )
