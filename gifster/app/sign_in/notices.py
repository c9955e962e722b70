"""Mails about changes of how somebody logs in: whoever is surprised by one knows that somebody else
is in their account."""

from gifster.app.accounts.post import Post
from gifster.app.models import User, new_id
from gifster.jobs import enqueue

#: What has happened, as the mail says it.
WHAT = {
    "app_added": "an authenticator app was set up as a second factor",
    "app_removed": "the authenticator app was removed",
    "passkey_added": "a passkey was added",
    "passkey_removed": "a passkey was removed",
    "codes_made": "new recovery codes were made",
    "code_used": "a recovery code was used to log in",
    "linked": "an account of a sign-in service was linked, and can log in from now on",
    "unlinked": "the link to an account of a sign-in service was removed",
    "token_read": "an API token was made, which sees what you see",
    "token_write": "an API token was made, which adds and changes GIFs for you",
    "token_admin": "an API token was made, which may do all that you may",
}


def tell(user: User, what: str) -> None:
    """Have a mail sent to a user. To be called in the transaction of the change.

    Parameters:
      what: a key of `WHAT`.
    """
    enqueue("send_sign_in_changed", user.id, what, new_id())


def deliver(user_id: str, what: str, change_id: str, post: Post) -> None:
    """Tell a user what has changed.

    Parameters:
      change_id: tells this change from others of the kind, so that a second copy of the mail has
        the id of the first.
    """
    user = User.get_or_none(User.id == user_id)
    if user is not None and (user.confirmed_at is not None or not _is_cheap(what)):
        post.deliver(
            "sign_in_changed",
            to=user.email,
            key=f"sign-in-changed.{user.id}.{change_id}",
            user=user,
            what=WHAT[what],
            link=post.link("/account" if _is_cheap(what) else "/account/sign-in"),
        )


def _is_cheap(what: str) -> bool:
    """Whether a program does it as often as it likes. Then an address that nobody has confirmed
    gets no mail: somebody may have signed up with it to fill another person's mailbox."""
    return what.startswith("token_")
