"""`gifster`, and `python -m gifster`: the command line of the application, if it is installed."""

import sys
from importlib.util import find_spec

#: The modules of the extra `server`, but for those that only `gifster dev` loads.
SERVER = (
    "apscheduler", "argon2", "click", "email_validator", "emoji", "falcon", "granian", "jinja2",
    "limits", "prometheus_client", "pydantic", "rich", "Stemmer", "typing_extensions", "uvloop",
)  # fmt: skip


def main() -> None:
    """Run the command that `sys.argv` names. If the extra `server` is not installed, say so."""
    if missing := [name for name in SERVER if find_spec(name) is None]:
        sys.exit(
            "gifster: the application is not installed: pip install 'gifster[server]' "
            f"(without it, {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing)"
        )
    from gifster.app.drivers import loading  # noqa: PLC0415 see above

    with loading():
        from gifster.cli import main as command  # noqa: PLC0415
    command()


if __name__ == "__main__":
    main()
