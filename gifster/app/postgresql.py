"""PostgreSQL over a network that may be cut: how soon each side notices, and a pool of connections
that is no worse off for it.

Peewee's pool opens connections under a lock, and asks each one whether it still answers under the
same lock. If the server's machine says nothing, all threads wait for that one after the other.
"""

import os
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import peewee
import psycopg
from playhouse.pool import PooledPostgresqlDatabase
from psycopg.conninfo import conninfo_to_dict

from gifster.app import standby

#: PostgreSQL ends a statement that takes longer (seconds), and a transaction that is idle for
#: longer: others may wait for the rows of a process that was stopped. Migrations may take longer.
STATEMENT_S, IDLE_IN_TRANSACTION_S = 300, 300
#: How long the machine of the other side may be silent (seconds). It is less than a lease: the
#: server gives the rows back that the transaction of a lost worker has locked, before another one
#: gets its jobs.
SILENT_S = 8
#: How long a thread waits for a new connection, and how long all threads do without one after it
#: did so in vain (seconds). An attempt that fails sooner makes nobody wait.
CONNECT_S, LEFT_ALONE_S, SLOW_S = 3, 1.0, 0.5

#: What PgBouncer says of parameters that it does not know.
_REFUSED = "unsupported startup parameter"

#: TCP's part in it, as libpq calls it; the server has the same options with the prefix `tcp_`.
#: Linux counts the silence by `tcp_user_timeout` alone (RFC 5482).
_KEEPALIVES = {"keepalives_idle": 3, "keepalives_interval": 2, "keepalives_count": 3}


_PostgreSQL: Any = peewee.PostgresqlDatabase


class _Server(_PostgreSQL):  # type: ignore[misc]  # Peewee has no types
    """A server, or a pooler before it, such as PgBouncer: then a connection may have another one of
    the server's with each transaction, and nothing that a session keeps can be relied on."""

    #: Whether a pooler is in between.
    is_pooled = False
    #: The options of the URL, for the server.
    options = ""
    #: Which connections have made commits that no standby has.
    unconfirmed = standby.Unconfirmed()

    def __init__(self, *names: Any, **parameters: Any) -> None:
        #: The connections that are committing, and since when (`time.monotonic()`).
        self.committing: dict[Any, float] = {}
        super().__init__(*names, **parameters)

    def _connect(self) -> Any:
        try:
            connection = super()._connect()
        except psycopg.OperationalError as error:
            if "options" not in self.connect_params or _REFUSED not in str(error):
                raise
            self._leave_options_out(error)
            connection = super()._connect()
        encoding = connection.info.parameter_status("server_encoding") or "UTF8"
        if encoding != "UTF8":
            connection.close()
            raise peewee.OperationalError(
                f"the database has the encoding {encoding}, and Gifster needs UTF8: make it anew "
                "with createdb --encoding UTF8 --template template0"
            )
        if not self.is_pooled:
            # A pooler gives its clients numbers of its own: it may not be asked what it is.
            ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
            self.is_pooled = pid != connection.info.backend_pid
        if self.is_pooled:
            connection.prepare_threshold = None
        self.unconfirmed.follow(connection)
        return connection

    def _leave_options_out(self, error: Exception) -> None:
        if self.options:
            raise peewee.OperationalError(
                f"the pooler refuses the options of database.url ({self.options}): leave them out, "
                "and set them with ALTER ROLE … SET"
            ) from error
        del self.connect_params["options"]

    def missing_limits(self) -> list[str]:
        """The limits of time that our sessions do not have, as one sets them."""
        values = {name: self.execute_sql(f"SHOW {name}").fetchone()[0] for name in _limits()}
        return [f"{name} = '{limit}'" for name, limit in _limits().items() if values[name] == "0"]

    def commit(self) -> None:
        connection = self._state.conn
        self.committing[connection] = time.monotonic()
        try:
            super().commit()
        finally:
            del self.committing[connection]
        self.unconfirmed.refuse(connection)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        cursor = super().execute_sql(sql, params)
        self.unconfirmed.refuse(self._state.conn)
        return cursor


class Pool(PooledPostgresqlDatabase, _Server):  # type: ignore[misc]  # Peewee has no types
    """A pool in which one thread at a time waits for a server that does not answer; the others get
    its error."""

    #: Until when nobody opens a connection (`time.monotonic()`), and the error that says why.
    _left_alone_until = 0.0
    _error: Exception | None = None

    def __init__(self, *names: Any, **parameters: Any) -> None:
        self._waits = standby.Waits(self)
        super().__init__(*names, **parameters)

    def _connect(self) -> Any:
        # Peewee calls this under the lock of the pool.
        started = time.monotonic()
        if started < self._left_alone_until:
            error = peewee.OperationalError("the database did not answer a moment ago")
            raise error from self._error
        try:
            connection = super()._connect()
        except Exception as error:
            ended = time.monotonic()
            if ended - started >= SLOW_S:
                self._error = error.with_traceback(None)
                self._left_alone_until = ended + LEFT_ALONE_S
            raise
        self._try_first(connection.info.host, str(connection.info.port))
        self._waits.watch()
        return connection

    @property
    def lock(self) -> Any:
        """Held while connections are taken and given back."""
        return self._pool_lock

    def in_use(self) -> list[Any]:
        """The connections that threads have now. Call it with the lock."""
        return [each.connection for each in self._in_use.values()]

    def waiting_for_standby(self) -> set[int]:
        """The server's processes that have waited for too long for a standby.

        Raises:
          psycopg.Error: the server does not answer within `CONNECT_S` seconds, or a pooler has no
            connection left to ask it.
        """
        connection = _Server._connect(self)
        limit = threading.Timer(CONNECT_S, _hang_up, [connection])
        limit.start()
        try:
            return standby.waiting(connection)
        finally:
            limit.cancel()
            connection.close()

    def _try_first(self, host: str, port: str) -> None:
        """Put the server that has just answered before the others of the URL. After a failover the
        first one may be silent, and each new connection would wait for it."""
        its = self.connect_params
        hosts = str(its.get("host", "")).split(",")
        if len(hosts) == 1 or "hostaddr" in its:
            return
        ports = str(its.get("port", "")).split(",")
        servers = list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True))
        servers.sort(key=lambda server: server not in ((host, port), (host, "")))
        its["host"], its["port"] = (",".join(names) for names in zip(*servers, strict=True))

    def _is_closed(self, conn: Any) -> bool:
        # Peewee asks the server, and a dead one does not answer. A connection that is idle has
        # nothing to read: if there is something, the server has closed it, or TCP has given up.
        if conn.closed:
            return True
        poll = select.poll()
        poll.register(conn.fileno(), select.POLLIN)
        return bool(poll.poll(0))


def _hang_up(connection: Any) -> None:
    """End a connection on which another thread waits."""
    with suppress(psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as its:
        its.shutdown(socket.SHUT_RDWR)


def _limits() -> dict[str, str]:
    return {
        "statement_timeout": f"{STATEMENT_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
    }


def pool(url: str, *, durable: bool, max_connections: int, wait_s: int) -> PooledPostgresqlDatabase:
    """A pool of connections to the database of a URL. Opens none yet.

    Parameters:
      url: as libpq reads it: several hosts are tried in their order.
      durable: whether a commit is on the disk when it returns.
      max_connections: of this process.
      wait_s: how long a thread waits for one of them (seconds).

    Raises:
      psycopg.ProgrammingError: libpq does not understand the URL.
    """
    options: dict[str, Any] = conninfo_to_dict(url)
    server = {
        **_limits(),
        **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
        "tcp_user_timeout": f"{SILENT_S}s",
        **({} if durable else {"synchronous_commit": "off"}),
    }
    # The options of the URL come later, and win.
    written, given = (
        [f"-c {name}={value}" for name, value in server.items()],
        options.get("options"),
    )
    options["options"] = " ".join([*written, given or ""]).strip()
    silent = {**_KEEPALIVES, "tcp_user_timeout": SILENT_S * 1000, "connect_timeout": CONNECT_S}
    options = {"application_name": "gifster", **silent, **options}
    made = Pool(
        options.pop("dbname", ""),
        prefer_psycopg3=True,
        max_connections=max_connections,
        timeout=wait_s,
        **options,
    )
    made.options = given or ""
    return made
