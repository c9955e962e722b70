"""The tables of this room."""

from typing import Any

import peewee

from gifster.app.models import BaseModel, MomentField, User, new_id, now


class Identity(BaseModel):
    """An account of a sign-in service (OpenID Connect) with which a user logs in.

    The issuer and the subject name it for good; its e-mail address may change, and is there to be
    shown (OpenID Connect Core 1.0, 5.7).
    """

    issuer = peewee.CharField(255)
    subject = peewee.CharField(255)
    #: How its user refers to it.
    id = peewee.CharField(12, unique=True, default=new_id)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE", backref="identities")
    user_id: str
    email = peewee.CharField(254, default="")
    linked_at: Any = MomentField(default=now)
    last_used_at: Any = MomentField(null=True)

    class Meta:
        primary_key = peewee.CompositeKey("issuer", "subject")


class AuthenticatorApp(BaseModel):
    """The secret that a user's authenticator app makes its codes of (RFC 6238)."""

    user = peewee.ForeignKeyField(User, primary_key=True, on_delete="CASCADE")
    user_id: str
    #: In base 32.
    secret = peewee.CharField(64)
    created_at: Any = MomentField(default=now)
    #: When its user typed its first code; until then it counts for nothing.
    confirmed_at: Any = MomentField(null=True)
    #: The time step of the last code that was used: no code works twice (RFC 6238, 5.2).
    last_step = peewee.BigIntegerField(default=0)
    #: Wrong codes since the last right one, and until when no code works (RFC 4226, 7.3).
    failures = peewee.IntegerField(default=0)
    locked_until: Any = MomentField(null=True)


class RecoveryCode(BaseModel):
    """A code that stands in for a lost second factor, once. Only its SHA-256 is kept."""

    digest = peewee.CharField(64, primary_key=True)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE", backref="recovery_codes")
    user_id: str


class Passkey(BaseModel):
    """The public key of a user's passkey (WebAuthn)."""

    id = peewee.CharField(12, primary_key=True, default=new_id)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE", backref="passkeys")
    user_id: str
    #: Its credential id, in base64url; at most 1,023 bytes (WebAuthn 3, 4).
    credential = peewee.CharField(1364, unique=True)
    #: As COSE writes it (RFC 9052).
    public_key: Any = peewee.BlobField()
    sign_count = peewee.BigIntegerField(default=0)
    name = peewee.CharField(100)
    created_at: Any = MomentField(default=now)
    last_used_at: Any = MomentField(null=True)


class SignInStep(BaseModel):
    """A log-in that waits for its second factor; without a user, what may not be used twice: an
    answer of the sign-in service, or of a passkey. Of its secret only the SHA-256 is kept."""

    digest = peewee.CharField(64, primary_key=True)
    user = peewee.ForeignKeyField(User, null=True, on_delete="CASCADE")
    user_id: str | None
    failures = peewee.IntegerField(default=0)
    expires_at: Any = MomentField(index=True)
