"""Whose address it is: a user confirms theirs by a link in a mail. A new address takes the place of
the former one once it is confirmed, and a mail to the former one says so."""

import logging

import peewee

from gifster.app import addresses
from gifster.app.accounts import mail_links, mail_secrets
from gifster.app.accounts.logging_in import account_with
from gifster.app.accounts.mail_secrets import Purpose
from gifster.app.accounts.post import Post
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied
from gifster.app.models import User, now
from gifster.jobs import enqueue, transaction

logger = logging.getLogger("gifster.app.accounts")


def require_confirmed(user: User) -> None:
    """Raise `Denied` (`email_unconfirmed`) for a user who has not confirmed their address, before
    they get a second factor. The owner of the address may come and choose a password by mail:
    theirs is the account then, and no second factor of somebody else may keep them out of it, nor
    may theirs be ended by whoever reads their mails."""
    if user.confirmed_at is None:
        raise Denied(
            "email_unconfirmed",
            f"Confirm {user.email} first: open the link in the mail that was sent to it. Your "
            "account page sends you another one.",
        )


def ask_for_confirmation(email: str) -> None:
    """Have a mail sent to an address, with a link to confirm it, if it is the unconfirmed address
    of an account. Whoever asks learns nothing of that.

    Raises:
      Invalid: it is not an address.
    """
    enqueue("send_confirmation", addresses.canonical(email, in_house=True))


def wish_email(user: User, email: str, *, in_house: bool = False) -> str:
    """Have a mail sent to an address, which becomes the user's once they open its link.

    Whether somebody else has that address is not said here, but in the mail, which only the owner
    of the address reads.

    Parameters:
      email: the new address; the present one gives the wish up.
      in_house: as `addresses.canonical()`.

    Returns:
      the address in the form in which it is kept.

    Raises:
      Invalid: it is not an address.
    """
    address = addresses.canonical(email, in_house=in_house)
    wanted = None if address == user.email else address
    with transaction(db):
        User.update(new_email=wanted).where(User.id == user.id).execute()
        mail_secrets.forget(user, Purpose.CONFIRM)
        if wanted is not None:
            enqueue("send_confirmation", wanted, user.id)
    return address


def send_again(user: User) -> None:
    """Have the mail sent once more to the address that a user wants, or to their unconfirmed one.
    It does nothing if there is nothing to confirm."""
    if user.new_email is not None:
        enqueue("send_confirmation", user.new_email, user.id)
    elif user.confirmed_at is None:
        enqueue("send_confirmation", user.email)


def deliver_confirmation(email: str, user_id: str | None, post: Post) -> None:
    """Deliver the mail with the link that confirms an address.

    Parameters:
      user_id: the user who wants the address in place of theirs; None for whoever has it.
    """
    holder = account_with(email)
    if user_id is None:
        if holder is not None and holder.confirmed_at is None and holder.disabled_at is None:
            _deliver(holder, holder.email, post)
        return
    user = User.get_or_none(User.id == user_id)
    if user is None or user.new_email != email or user.disabled_at is not None:
        return  # they changed their mind meanwhile
    if holder is None or holder.id == user.id:
        _deliver(user, email, post)
    else:
        _deliver_taken(holder, email, user.id, post)


def deliver_taken(email: str, post: Post) -> None:
    """Tell the owner of an address that somebody wanted to sign up with it, which has an account.
    Maybe it was they, who never confirmed it: then the mail has the link for that."""
    holder = account_with(email)
    if holder is None or holder.disabled_at is not None:
        return
    if holder.confirmed_at is None:
        _deliver(holder, holder.email, post)
    else:
        _deliver_taken(holder, holder.email, str(now()), post)


def _deliver_taken(holder: User, email: str, by: str, post: Post) -> None:
    key = f"email-taken.{mail_secrets.digest(by + email)[:16]}"
    post.deliver("email_taken", to=email, key=key, user=holder, link=post.link("/login"))


def _deliver(user: User, email: str, post: Post) -> None:
    link = confirmation_link(user, email, post)
    key = f"confirm.{mail_secrets.digest(link)[:16]}"
    post.deliver("confirm", to=email, key=key, user=user, link=link, email=email)


def confirmation_link(user: User, email: str, post: Post) -> str:
    """A link that confirms an address. It works once, and for an hour."""
    return post.link(mail_links.CONFIRM, mail_secrets.make(user, Purpose.CONFIRM, email))


def confirm(secret: str) -> User:
    """The user of a mail's secret, whose address is confirmed from now on.

    Raises:
      Invalid: the secret does not work, or is for an address that the user no longer wants.
      Conflict: somebody else has the address meanwhile.
    """
    try:
        with transaction(db):
            found = mail_secrets.spend(secret, Purpose.CONFIRM)
            user: User = found.user
            if found.email == user.email:
                User.update(confirmed_at=now()).where(User.id == user.id).execute()
            elif found.email == user.new_email:
                _replace(user, found.email)
            else:
                raise mail_secrets.too_late()
    except peewee.IntegrityError:
        raise Conflict(
            "email_taken", "Another account has that address meanwhile. Use another address."
        ) from None
    logger.info("confirmed the address of user=%s", user.id)
    return User.get_by_id(user.id)


def _replace(user: User, email: str) -> None:
    if account_with(email) not in (None, user):
        raise peewee.IntegrityError  # the same address in another spelling
    # Whoever reads the mails of the former address cannot reset the password any more.
    mail_secrets.forget(user, Purpose.RESET)
    User.update(email=email, new_email=None, confirmed_at=now()).where(User.id == user.id).execute()
    enqueue("send_email_changed", user.id, user.email)


def deliver_email_changed(user_id: str, former: str, post: Post) -> None:
    """Tell the former address of a user that another one took its place."""
    user = User.get_or_none(User.id == user_id)
    if user is not None:
        key = f"email-changed.{mail_secrets.digest(user.id + former + user.email)[:16]}"
        post.deliver("email_changed", to=former, key=key, user=user, former=former)
