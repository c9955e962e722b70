"""Whether the database still has all that it had: a standby of PostgreSQL that takes over may lack
the last commits of the server before it.

Each server that takes over begins a new timeline. So two commits that were made in one timeline are
both there, or only the earlier one, or none; of two in different timelines the later one may be
there alone. See "Timelines" in the manual of PostgreSQL, chapter "Continuous Archiving".
"""

import peewee

from gifster.jobs.transactions import real_database

#: The name of a file of the log begins with the number of its timeline, in eight digits.
_TIMELINE = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"


def history_of(database: peewee.Database | peewee.DatabaseProxy | None) -> str:
    """The database's history: another one since a server has taken over. Empty if the database has
    only one, or does not tell.

    Raises:
      PeeweeException: the database cannot be asked.
    """
    real = real_database(database)
    if not isinstance(real, peewee.PostgresqlDatabase):
        return ""
    try:
        ((timeline,),) = real.execute_sql(_TIMELINE).fetchall()
    except (peewee.ProgrammingError, peewee.NotSupportedError):  # a server that is like PostgreSQL
        return ""
    return str(timeline)
