"""Ways to log in beside a password, and the second factor.

`identities` has the accounts of a sign-in service (OpenID Connect, whose protocol is in `oidc`),
`proxy` what a trusted proxy tells, `groups` the roles that both give. `codes` has the codes of
authenticator apps, and recovery codes; `passkeys` has passkeys; `steps` the log-ins that wait for
one of them. Plain synchronous functions, like those of `accounts`: call them with a database
connection open.
"""

from gifster.app.errors import Denied
from gifster.app.settings import Auth


def check_passwords(auth: Auth) -> None:
    """Raise `Denied` (`passwords_off`) where nobody logs in or signs up with a password."""
    if not auth.passwords:
        raise Denied(
            "passwords_off",
            "This library takes no passwords. Log in by the sign-in service on the page /login.",
        )
