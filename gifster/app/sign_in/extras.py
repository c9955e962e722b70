"""Which packages of this room are installed; and what to do if one is missing."""

from importlib.util import find_spec

from gifster.app.errors import SettingsError

#: The packages of each extra.
EXTRAS = {"oidc": ("authlib", "requests"), "second-factor": ("pyotp", "segno", "webauthn")}


def installed(extra: str) -> bool:
    """Whether the packages of an extra are there. Loads none of them."""
    return not _missing(extra)


def require(extra: str, what: str) -> None:
    """Raise `SettingsError` unless the packages of an extra are there.

    Parameters:
      what: what needs them, as the beginning of the message.
    """
    if missing := _missing(extra):
        raise SettingsError(
            f"{what}, and {', '.join(missing)} is not installed: pip install 'gifster[{extra}]'"
        )


def _missing(extra: str) -> list[str]:
    return [name for name in EXTRAS[extra] if find_spec(name) is None]
