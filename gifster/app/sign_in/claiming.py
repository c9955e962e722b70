"""An account whose address nobody has confirmed, once its owner comes. Somebody else may have made
it, to wait for them (decision 74)."""

from gifster.app import tokens
from gifster.app.models import User
from gifster.app.sign_in import identities, second_factor


def end_ways_in(user: User) -> int:
    """End all ways into an account but for its password: sessions, tokens, links to a sign-in
    service, passkeys and an authenticator app. Returns how many there were."""
    ended = tokens.log_out_everywhere(user)
    return ended + identities.unlink_all(user) + second_factor.remove_all(user)
