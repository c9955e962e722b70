"""PostgreSQL over a network that may be cut: how soon each side notices, and a pool of connections
that is no worse off for it.

Peewee's pool opens connections under a lock, and asks each one whether it still answers under the
same lock. If the server's machine says nothing, all threads wait for that one after the other.
"""

import select
import time
from typing import Any

import peewee
from playhouse.pool import PooledPostgresqlDatabase
from psycopg.conninfo import conninfo_to_dict

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

#: TCP's part in it, as libpq calls it; the server has the same options with the prefix `tcp_`.
#: Linux counts the silence by `tcp_user_timeout` alone (RFC 5482).
_KEEPALIVES = {"keepalives_idle": 3, "keepalives_interval": 2, "keepalives_count": 3}


class Pool(PooledPostgresqlDatabase):  # type: ignore[misc]  # Peewee has no types
    """A pool in which one thread at a time waits for a server that does not answer; the others get
    its error."""

    #: Until when nobody opens a connection (`time.monotonic()`), and the error that says why.
    _left_alone_until = 0.0
    _error: Exception | None = None

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
        return connection

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
        "statement_timeout": f"{STATEMENT_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
        **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
        "tcp_user_timeout": f"{SILENT_S}s",
        **({} if durable else {"synchronous_commit": "off"}),
    }
    # The options of the URL come later, and win.
    written = [f"-c {name}={value}" for name, value in server.items()]
    options["options"] = " ".join([*written, options.get("options", "")]).strip()
    silent = {**_KEEPALIVES, "tcp_user_timeout": SILENT_S * 1000, "connect_timeout": CONNECT_S}
    options = {"application_name": "gifster", **silent, **options}
    return Pool(
        options.pop("dbname", ""),
        prefer_psycopg3=True,
        max_connections=max_connections,
        timeout=wait_s,
        **options,
    )
