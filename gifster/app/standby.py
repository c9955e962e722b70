"""Commits that wait for a synchronous standby of PostgreSQL, which is away.

PostgreSQL has no limit for that wait: `statement_timeout` has ended before it begins. It can be
cancelled. Then the commit stays on this server, and succeeds, with a warning: the driver does not
tell the caller. So a thread here cancels what has waited for too long, and the pool makes an error
of the warning, whoever cancelled the wait.
"""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from gifster.app.faults import StandbyAway

logger = logging.getLogger("gifster.app.standby")

#: How long a commit waits for a standby (seconds), which restarts meanwhile, perhaps; and how often
#: the thread looks.
WAIT_S, EVERY_S = 10.0, 1.0
#: The function of PostgreSQL that waits, as its messages name it in every language.
_WAITING = "SyncRepWaitForLSN"
#: What waits for a standby, or for the locks of what does.
_WAITERS = """
SELECT pid FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND query_start < now() - make_interval(secs => %(wait_s)s)
AND (wait_event = 'SyncRep' OR wait_event_type = 'Lock')
AND EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'
            AND query_start < now() - make_interval(secs => %(wait_s)s))
"""


class Unconfirmed:
    """Which connections of a pool have made a commit that no standby has confirmed."""

    def __init__(self) -> None:
        self._connections: set[int] = set()

    def follow(self, connection: Any) -> None:
        """Note it if a wait of this connection for a standby is cancelled."""
        number = id(connection)

        def notice(message: psycopg.errors.Diagnostic) -> None:
            if message.source_function == _WAITING:
                self._connections.add(number)

        connection.add_notice_handler(notice)
        self._connections.discard(number)

    def refuse(self, connection: Any) -> None:
        """Raise an error once, if that has happened.

        Raises:
          StandbyAway: the last commit of this connection is on no standby.
        """
        if self._connections and id(connection) in self._connections:
            self._connections.discard(id(connection))
            raise StandbyAway


class Waits:
    """Cancels what waits for a standby for too long, on the connections of one pool. It asks the
    server only if a statement takes that long.

    Parameters:
      pool: while nothing uses it, no thread watches it.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        #: Since when a connection is seen to be busy (`time.monotonic()`).
        self._busy: dict[Any, float] = {}
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """Start the thread, unless it runs. Call it with the lock of the pool."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, daemon=True, name="standby")
            with suppress(RuntimeError):  # no more threads now: the next connection tries again
                self._thread.start()

    def _watch(self) -> None:
        while True:
            time.sleep(EVERY_S)
            with self._pool.lock:
                used = self._pool.in_use()
                if not used:
                    self._thread, self._busy = None, {}
                    return
            try:
                self._look(used)
            except Exception as error:  # noqa: BLE001 the server may be away, too
                logger.debug("the server cannot be asked what waits: %r", error)

    def _look(self, used: Iterable[Any]) -> None:
        now = time.monotonic()
        # A commit does nothing else for so long. Behind a pooler, such commits may have all of its
        # connections, and nobody could ask the server.
        _cancel([c for c, since in list(self._pool.committing.items()) if now - since >= WAIT_S])
        busy = [connection for connection in used if _is_busy(connection)]
        self._busy = {connection: self._busy.get(connection, now) for connection in busy}
        overdue = [each for each, since in self._busy.items() if now - since >= WAIT_S]
        if not overdue:
            return
        try:
            waiting = self._pool.waiting_for_standby()
        except psycopg.Error:
            if self._pool.is_pooled:  # what waits has all connections of the pooler, too
                _cancel([e for e, since in self._busy.items() if now - since >= 3 * WAIT_S])
            raise
        late = [e for e in overdue if self._pool.is_pooled or e.info.backend_pid in waiting]
        if waiting:
            _cancel(late)


def _is_busy(connection: Any) -> bool:
    return bool(connection.pgconn.transaction_status == TransactionStatus.ACTIVE)


def waiting(connection: Any) -> set[int]:
    """The server's processes that have waited for too long for a standby, or for the locks of one
    that does.

    Parameters:
      connection: one that waits for nothing.
    """
    return {pid for (pid,) in connection.execute(_WAITERS, {"wait_s": WAIT_S})}


def _cancel(connections: Iterable[Any]) -> None:
    busy = [connection for connection in connections if _is_busy(connection)]
    if busy:
        logger.warning("cancelled statements=%d after_s=%.0f: %s", len(busy), WAIT_S, StandbyAway())
    for connection in busy:
        connection.cancel_safe(timeout=WAIT_S)
