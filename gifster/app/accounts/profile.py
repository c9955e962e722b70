"""What a user says of themselves."""

from gifster.app import texts
from gifster.app.errors import Invalid
from gifster.app.models import User


def rename(user: User, name: str) -> str:
    """Give a user another name. Returns it as it is kept.

    Raises:
      Invalid: nothing of it is visible, it is too long, or it has control characters.
    """
    kept = texts.person(name)
    if not kept:
        raise Invalid("name_missing", "An account needs a name.")
    User.update(name=kept).where(User.id == user.id).execute()
    return kept
