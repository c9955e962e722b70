"""Who may read what Gifster keeps: its own user, and nobody else on the machine. And small files
that a power cut has emptied."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gifster.app import settings
from gifster.app.boot import configure, secret_file
from gifster.app.private import is_everybodys
from gifster.app.settings import SettingsError
from gifster.app.valkey import NoEmbeddedBroker, choose_url, embedded_url
from gifster.cli.doctor import checks
from tests.app.small_disks import mounted
from tests.machine import BIN, alive, eventually
from tests.stack import Stack


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_below(folder: Path) -> list[str]:
    """The files and folders to which the group or others have any access."""
    return sorted(
        str(path.relative_to(folder))
        for path in [folder, *folder.rglob("*")]
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    )


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_its_own_user_can_read_the_files_of_a_process(
    new_stack: Callable[..., Stack], gif: bytes
):
    # Given all processes, an upload, and a mail
    stack = new_stack()
    stack.start_web()
    stack.start_worker()
    stack.start("gifster", "scheduler")
    uploaded = stack.upload(gif).json()
    stack.client.post("/api/users", json={"email": "a@example.org", "password": "correct horse"})
    stack.finished(uploaded["id"])
    eventually(lambda: list((stack.var / "mail").glob("*.eml")))
    assert stack.run("gifster", "doctor").stdout.count(" ok ") > 5

    # I expect others to be able to read no file and no folder
    assert (stack.var / "gifster.db").exists()
    assert (stack.var / "secret").exists()
    assert list((stack.var / "store").rglob("*.gif"))
    assert open_below(stack.var) == []


def test_files_that_an_earlier_release_left_readable_are_closed(
    here: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("gifster.db", "gifster.db-wal", "secret"):
        (here / "var").mkdir(exist_ok=True)
        (here / "var" / name).write_text("x" * 40)
    (here / "var" / "mail").mkdir()
    (here / "var" / "store").mkdir()

    configure(settings.load())

    modes = {p.name: mode(p) for p in (here / "var").iterdir() if not p.name.startswith(".")}
    assert modes == {
        "gifster.db": 0o600,
        "gifster.db-wal": 0o600,
        "secret": 0o600,
        "mail": 0o700,
        "store": 0o755,  # a web server may read it
    }
    assert caplog.text.count("closed to other users of this machine: var/") == 4


@pytest.mark.parametrize("variable", ["CACHE__ROOT", "MAIL__URL", "DATABASE__URL"])
def test_a_folder_of_everybodys_stays_open_if_the_settings_name_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    # Given settings that name a folder as others have it, such as /tmp, also by a symbolic link
    shared = here / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (here / "var").mkdir()
    (here / "var" / "link").symlink_to(shared)
    for path in (shared, here / "var" / "link"):
        value = {"MAIL__URL": f"file:{path}", "DATABASE__URL": f"sqlite:///{path}"}
        monkeypatch.setenv(f"GIFSTER_{variable}", value.get(variable, str(path)))

        configure(settings.load())

        # I expect others to get into it as before
        assert mode(shared) == 0o1777


def test_the_doctor_lists_files_that_others_can_read(monkeypatch: pytest.MonkeyPatch):
    # Given a folder that others can reach, unlike pytest's own
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.chdir(folder)
        (Path(folder) / "var" / "store").mkdir(parents=True)
        privacy = dict(checks(settings.load()))["privacy"]

        with pytest.raises(RuntimeError, match=r"var, var/store .run chmod o-rwx var var/store;"):
            privacy()

        (Path(folder) / "var").chmod(0o711)
        with pytest.raises(RuntimeError, match="can read var/store"):
            privacy()

        (Path(folder) / "var").chmod(0o700)
        monkeypatch.setenv("GIFSTER_CACHE__ROOT", "/tmp")
        with pytest.raises(RuntimeError, match=r"need /tmp, too .name a folder of Gifster's own"):
            dict(checks(settings.load()))["privacy"]()
        assert privacy() == "other users of this machine can read no file of Gifster's"


def test_the_doctor_finds_no_fault_with_a_volume_that_kubernetes_has_made(
    monkeypatch: pytest.MonkeyPatch,
):
    # Given an emptyDir as var/, in a folder that others can reach
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.chdir(folder)
        Path("var").mkdir()
        with mounted(Path("var"), "size=1m,mode=2777"):
            monkeypatch.setattr(os, "geteuid", lambda: 10001)
            Path("var/store").mkdir()

            # I expect it to look at what is in it
            with pytest.raises(RuntimeError, match="can read var/store"):
                dict(checks(settings.load()))["privacy"]()


@pytest.mark.parametrize(
    ("path", "permissions", "owner", "others"),
    [
        ("/data", 0o755, "ours", False),  # of a container
        ("/srv/cache", 0o755, "ours", False),
        ("/srv/cache", 0o757, "ours", True),
        ("/srv/cache", 0o755, "root", True),
        ("/tmp", 0o1777, "root", True),
    ],
)
def test_a_folder_of_gifsters_own_is_nobody_elses_also_for_root(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    permissions: int,
    owner: str,
    others: bool,
):
    # Given the folders of a user that is not root, and the doctor of `sudo gifster doctor`
    ids = {Path("var"): 1000, Path(path): 1000 if owner == "ours" else 0}

    def stat_of(self: Path, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(st_mode=stat.S_IFDIR | permissions, st_uid=ids[self])

    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 0)
        patched.setattr(Path, "exists", lambda self: True)
        patched.setattr(Path, "resolve", lambda self: self)
        patched.setattr(Path, "stat", stat_of)
        found = is_everybodys(Path(path))

    assert found is others


def test_a_web_server_may_read_the_store_if_the_settings_say_so(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GIFSTER_STORE__PERMISSIONS", "0640")
    monkeypatch.setenv("GIFSTER_STORE__DIRECTORY_PERMISSIONS", "0750")
    configure(settings.load())
    from gifster.uploads.config import storage

    source = here / "source"
    source.write_bytes(b"content")
    storage("store").upload(source, "gifs/1/original.gif", "image/gif")
    storage("cache").upload(source, "1.gif", "image/gif")

    assert mode(here / "var/store/gifs/1/original.gif") == 0o640
    assert mode(here / "var/store") == mode(here / "var/store/gifs/1") == 0o750
    assert mode(here / "var") == 0o700
    assert mode(here / "var/cache/1.gif") == 0o600


@pytest.mark.parametrize(
    ("variable", "value", "found"),
    [
        ("STORE__ROOT", "var", "var/secret, var/valkey, var/metrics, var/dev.lock, var/gifster.db"),
        ("STORE__ROOT", ".", "var/secret"),
        ("STORE__ROOT", "var/../var/", "var/gifster.db"),
        ("STORE__ROOT", "link", "var/gifster.db"),
        ("STORE__ROOT", "var/mail", "download var/mail from it"),
        ("STORE__ROOT", "var/cache", "download var/cache from it"),
        ("DATABASE__URL", "sqlite:///var/store/my.db", "var/store/my.db, var/store/my.db-wal"),
        ("CACHE__ROOT", "var/store/cache", "download var/store/cache from it"),
    ],
)
def test_a_store_with_private_files_in_it_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, found: str
):
    (here / "var").mkdir()
    (here / "link").symlink_to("var")
    monkeypatch.setenv(f"GIFSTER_{variable}", value)

    with pytest.raises(SettingsError, match=found):
        configure(settings.load())


def test_only_a_local_store_can_have_private_files(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIFSTER_STORE__ROOT", "var")
    monkeypatch.setenv("GIFSTER_STORE__KIND", "s3")
    monkeypatch.setenv("GIFSTER_STORE__BUCKET", "gifs")

    configure(settings.load())


def test_no_command_runs_with_private_files_in_the_store(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.environment["GIFSTER_STORE__ROOT"] = "var"

    for command in (["doctor"], ["web"], ["worker"], ["fsck"], ["migrate"]):
        result = stack.run("gifster", *command)

        assert result.returncode == 1
        said = result.stdout + result.stderr
        assert "store.root is 'var', and everybody could download var/secret" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("value", ["0440", "rw", "99999"])
def test_impossible_modes_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("GIFSTER_STORE__PERMISSIONS", value)

    with pytest.raises(SettingsError, match="store"):
        settings.load()


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 43, b"abc", b"\xff" * 43])
def test_a_secret_that_a_power_cut_has_emptied_is_replaced(
    here: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    file = here / "secret"
    file.write_bytes(content)

    secret = secret_file(file)

    assert len(secret) >= 32
    assert secret_file(file) == secret
    assert mode(file) == 0o600
    assert "is empty or damaged: a new secret replaces it" in caplog.text


def test_an_existing_secret_stays(here: Path):
    file = here / "secret"
    file.write_text("of one's own choice\n")

    assert secret_file(file) == "of one's own choice\n"


def test_processes_that_start_at_once_have_one_secret(here: Path):
    (here / "var").mkdir()
    (here / "var/secret").touch()
    code = "from gifster.app.boot import secret_file; print(secret_file())"
    stack = Stack(here, "")

    started = [stack.launch(["python", "-c", code], here / f"{n}.log") for n in range(6)]

    assert [process.wait(60) for process in started] == [0] * 6
    [secret] = {(here / f"{n}.log").read_text().splitlines()[-1] for n in range(6)}
    assert len(secret) >= 32


def test_an_unreadable_secret_is_reported(here: Path):
    (here / "secret").mkdir()  # root may read any file

    with pytest.raises(SettingsError, match="run this as the user that owns"):
        secret_file(here / "secret")


def test_a_form_works_after_the_secret_was_emptied(new_stack: Callable[..., Stack], gif: bytes):
    stack = new_stack()
    (stack.var / "secret").write_bytes(b"")
    stack.start_web()

    files = {"image": ("a.gif", gif, "image/gif")}
    answer = stack.client.post("/gifs", files=files, data={"title": "x" * 1000})

    assert answer.status_code == 422


@pytest.mark.parametrize("content", [b"", b"redis://:abc", b"\0" * 64, b"\xff\n"])
def test_a_damaged_url_of_valkey_is_replaced(here: Path, content: bytes):
    (here / "var/valkey").mkdir(parents=True)
    (here / "var/valkey/url").write_bytes(content)

    with pytest.raises(NoEmbeddedBroker):
        embedded_url()
    url = choose_url()

    assert embedded_url() == url
    assert choose_url() == url
    assert mode(here / "var/valkey/url") == 0o600


def test_the_embedded_valkey_wants_its_password(here: Path):
    url = choose_url()
    (here / "var/valkey/valkey.conf").touch(0o644)  # as an earlier release might have left it
    process = subprocess.Popen([BIN / "python", "-m", "gifster.app.valkey"], cwd=here)
    try:
        client = redis.Redis.from_url(url)
        eventually(lambda: _pongs(client))

        port = client.connection_pool.connection_kwargs["port"]
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).ping()
        assert [name for name in open_below(here / "var/valkey") if name != "."] == []
        assert b"requirepass" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    finally:
        process.terminate()
        process.wait()


def test_a_copy_of_a_folder_leaves_the_valkey_of_the_original_alone(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    # Given a folder that was copied while its Valkey runs
    url = choose_url()
    process = subprocess.Popen([BIN / "python", "-m", "gifster.app.valkey"], cwd=here)
    try:
        client = redis.Redis.from_url(url)
        eventually(lambda: _pongs(client))
        copy = tmp_path_factory.mktemp("copy")
        (copy / "var/valkey").mkdir(parents=True)
        (copy / "var/valkey/url").write_text((here / "var/valkey/url").read_text())

        # When the copy chooses its own, I expect another port and password, and the first to live
        monkeypatch.chdir(copy)
        ours, theirs = urlsplit(choose_url()), urlsplit(url)
        assert (ours.port, ours.password) != (theirs.port, theirs.password)
        assert ours.password != theirs.password
        assert _pongs(client)
    finally:
        process.terminate()
        process.wait()


def test_the_embedded_valkey_outlives_the_process_that_runs_it_only_until_the_next(here: Path):
    # Given a Valkey whose process was killed
    client = redis.Redis.from_url(choose_url())
    code = "from gifster.app import valkey; valkey.STOP_S = 0.1; valkey.main()"
    started = [subprocess.Popen([BIN / "python", "-c", code], cwd=here)]
    servers = [eventually(lambda: psutil.Process(started[0].pid).children())[0]]
    try:
        eventually(lambda: _pongs(client))
        started[0].kill()
        started[0].wait()

        # When it is run again, I expect the former one to end
        started.append(subprocess.Popen([BIN / "python", "-c", code], cwd=here))
        servers += eventually(lambda: psutil.Process(started[1].pid).children())
        eventually(lambda: not alive(servers[0].pid))
        eventually(lambda: _pongs(client))

        # And if one does not stop, I expect it to be killed
        servers[1].suspend()
        started[1].terminate()
        assert started[1].wait(60) == 0
        assert not alive(servers[1].pid)
    finally:
        for process in [*started, *servers]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _pongs(client: redis.Redis) -> bool:
    try:
        return client.ping()
    except redis.RedisError:
        return False


def test_only_its_own_user_can_read_a_mail(here: Path):
    from email.message import EmailMessage

    from gifster.app.mailers import FileTransport

    message = EmailMessage()
    message["Message-ID"] = "<welcome.1@example.org>"
    FileTransport(here / "mail").deliver(message)

    assert os.listdir(here / "mail") == ["welcome.1.eml"]
    assert mode(here / "mail/welcome.1.eml") == 0o600
