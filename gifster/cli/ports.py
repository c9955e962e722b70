"""Whether the web server can listen where the settings say."""

import errno
import socket

from gifster.cli.root import Refused


def check_address(host: str, port: int, *, shared: bool = False) -> None:
    """Make sure that a web server can listen on an address.

    Parameters:
      shared: whether another `gifster web` may listen there already. The two share the connections.

    Raises:
      Refused: it cannot; says why, and what to set.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared and hasattr(socket, "SO_REUSEPORT"):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise Refused(
                f"the address {host} cannot be used ({error.strerror}): set web.host to an address "
                "of this machine (GIFSTER_WEB__HOST=127.0.0.1; 0.0.0.0 for all of them)"
            ) from None
        other = port + 1 if port < 65_535 else 8000
        raise Refused(
            f"port {port} cannot be used on {host} ({error.strerror}): choose another one "
            f"(make dev PORT={other}, or GIFSTER_WEB__PORT={other})"
        ) from None
