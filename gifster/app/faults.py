"""Errors of the database that the application finds itself. What those of the drivers mean is in
`gifster.jobs.database_errors`."""

import peewee

from gifster.jobs.database_errors import Fault


class FileGone(peewee.OperationalError):
    """A SQLite file is not where it was, and a new one in its place would be empty. The message
    says which."""

    #: What that is to those who use the database.
    fault = Fault.AWAY


class StandbyAway(peewee.OperationalError):
    """A commit is on the disk of PostgreSQL's server, but on no synchronous standby. Nobody knows
    whether it stays."""

    #: What that is to those who use the database.
    fault = Fault.STANDBY

    def __init__(self) -> None:
        super().__init__(
            "no synchronous standby has confirmed a commit: start the standby, or change "
            "synchronous_standby_names on the primary"
        )


def wrong_with_the_database(fault: Fault) -> str:
    """What is said of a fault to people who can do something about it."""
    advice = "; run `gifster doctor`" if fault is Fault.DAMAGED else ""
    return f"the database {fault}{advice}"
