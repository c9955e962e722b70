"""The tables of this room: secrets in mails, invitations, and users' exports. `models` has the
users themselves, and their tokens."""

from typing import Any

import peewee

from gifster.app.models import BaseModel, MomentField, User, new_id, now


class MailSecret(BaseModel):
    """A secret that a mail carries to the owner of an address. It works once, and only its SHA-256
    is kept."""

    digest = peewee.CharField(64, primary_key=True)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE")
    user_id: str
    #: What it is for (see `mail_secrets.Purpose`).
    purpose = peewee.CharField(8)
    #: Where the mail goes. Whoever has the secret reads the mails of this address.
    email = peewee.CharField(254)
    created_at: Any = MomentField(default=now)
    expires_at: Any = MomentField(index=True)


class Invitation(BaseModel):
    """Lets one person sign up where not everybody may."""

    #: How people refer to it; it is not secret.
    id = peewee.CharField(12, primary_key=True, default=new_id)
    #: The SHA-256 of its secret; None until its mail is sent.
    digest = peewee.CharField(64, null=True, unique=True)
    #: Where it is sent; empty for a link that somebody passes on.
    email = peewee.CharField(254, default="")
    #: The admin; None if the command line made it.
    made_by = peewee.ForeignKeyField(User, null=True, on_delete="SET NULL", backref="invitations")
    made_by_id: str | None
    created_at: Any = MomentField(default=now)
    expires_at: Any = MomentField(index=True)
    used_at: Any = MomentField(null=True)
    used_by = peewee.ForeignKeyField(User, null=True, on_delete="SET NULL", backref="invited_by")


class Export(BaseModel):
    """A zip of all GIFs of a user, which a job makes. A user has one at a time."""

    id = peewee.CharField(12, primary_key=True, default=new_id)
    user = peewee.ForeignKeyField(User, unique=True, on_delete="CASCADE")
    user_id: str
    created_at: Any = MomentField(default=now)
    #: None until the zip is there.
    finished_at: Any = MomentField(null=True)
    #: When the zip is deleted.
    expires_at: Any = MomentField(null=True, index=True)
    #: How many GIFs it has, and how many it should have but cannot.
    gifs = peewee.IntegerField(default=0)
    left_out = peewee.IntegerField(default=0)
    bytes = peewee.BigIntegerField(default=0)
