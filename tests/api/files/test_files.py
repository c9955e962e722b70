"""`/media` and `/static`: which files are served, and which part of one (RFC 9110, 13 and 14)."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tests.combinations import only_in_ci
from tests.machine import eventually
from tests.stack import Stack

#: A picture, as far as a web server is concerned.
CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
KEY = "gifs/k3V9/0123456789abcdef/thumb.gif"
URL = f"/media/{KEY}"
LARGE = "gifs/large/0123456789abcdef/original.gif"
LARGE_BYTES = 30 * 2**20
LONG_AGO = "Thu, 01 Jan 1970 00:00:01 GMT"

WEB: dict[str, str] = {}


@pytest.fixture(scope="module")
def store(web: Stack) -> Path:
    """The store's folder, with two files, and a secret beside it."""
    folder = web.var / "store"
    for key, content in [(KEY, CONTENT), (LARGE, bytes(LARGE_BYTES))]:
        (folder / key).parent.mkdir(parents=True)
        (folder / key).write_bytes(content)
    (web.var / "secret.gif").write_bytes(b"nobody's business")
    return folder


@pytest.fixture(autouse=True)
def _store(store: Path) -> None:
    """Shared by every test."""


def get(web: Stack, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.client.get(URL, headers=names)


def raw(web: Stack, path: str) -> bytes:
    """The answer to a path that clients would normalize."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


# Which files


@pytest.mark.parametrize(
    "path",
    ["/media/.hidden.gif", "/media/gifs/.hidden/a.gif", "/media/gifs/k3V9/.0123456789abcdef.tmp",
     "/media/", "/media/gifs", "/media/gifs/", f"{URL}/", f"{URL}/a.gif", f"/media//{KEY}",
     "/media/gifs//k3V9", f"/media/./{KEY}", "/media/../secret.gif", "/media/%2e%2e/secret.gif",
     "/media/..%2fsecret.gif", "/media/%2e%2e%2fsecret.gif", "/media/gifs/../../secret.gif",
     "/media/..%5csecret.gif", f"{URL}%00", f"{URL}%0a", f"{URL}%20", f"{URL}.", "/media/%ff.gif",
     f"/media/{'a' * 300}.gif", f"/media/{'a/' * 4000}a.gif", f"/media/{'a' * 500}", "/media/~root",
     "/media//etc/passwd", "/media/%2fetc%2fpasswd",
     "/static/", "/static/.", "/static/../app.py", "/static/%2e%2e/app.py", "/static//gifster.js",
     "/static/gifster.js/", "/static/gifster.js%00", f"/static/{'a' * 300}"],
)  # fmt: skip
def test_a_path_that_cannot_be_a_key_is_not_found(web: Stack, store: Path, path: str):
    for name in (".hidden.gif", "gifs/.hidden/a.gif", "gifs/k3V9/.0123456789abcdef.tmp"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_bytes(CONTENT)

    assert raw(web, path).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("link", ["secret.gif", "linked/secret.gif", "gifs/inside.gif"])
def test_links_are_not_followed(web: Stack, store: Path, link: str):
    # Given links out of the store, to a file and to a folder, and one to a file inside
    for name, target in [("secret.gif", web.var / "secret.gif"), ("linked", web.var),
                         ("gifs/inside.gif", store / KEY)]:  # fmt: skip
        if not (store / name).is_symlink():
            (store / name).symlink_to(target)
    assert (store / link).is_file()

    assert web.client.get(f"/media/{link}").status_code == 404


def test_the_folder_itself_may_be_a_link(web: Stack, store: Path):
    elsewhere = store.with_name("elsewhere")
    store.rename(elsewhere)
    store.symlink_to(elsewhere)
    try:
        assert get(web).status_code == 200
    finally:
        store.unlink()
        elsewhere.rename(store)


def test_an_irregular_file_is_not_found_and_delays_nobody(web: Stack, store: Path):
    os.mkfifo(store / "pipe.gif")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(store / "socket.gif"))

    for name in ("pipe.gif", "socket.gif"):
        answer = web.client.get(f"/media/{name}")
        assert answer.status_code == 404
    assert web.client.get("/healthz").status_code == 200


def test_nothing_stays_open(web: Stack):
    process = web_process(web)
    get(web)
    before = process.num_fds()

    for path in ("/media/gifs", "/media/gifs/none.gif", f"{URL}/a.gif", URL, f"/media/{LARGE}"):
        for headers in ({}, {"Range": "bytes=999999999-"}, {"If-None-Match": "*"}):
            web.client.head(path, headers=headers)
            web.client.get(path, headers=headers)

    eventually(lambda: process.num_fds() <= before)


def test_an_unreadable_file_is_not_a_missing_one(web: Stack, store: Path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (store / "denied.gif").write_bytes(CONTENT)
    (store / "denied.gif").chmod(0)

    assert web.client.get("/media/denied.gif").status_code == 503


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.gif", "image/gif"), ("a.webp", "image/webp"), ("a.mp4", "video/mp4"),
     ("a.GIF", "image/gif"), ("a.html", "application/octet-stream"),
     ("a.svg", "application/octet-stream"), ("a.js", "application/octet-stream"),
     ("a", "application/octet-stream"), ("a.nothing", "application/octet-stream")],
)  # fmt: skip
def test_browsers_show_pictures_and_films_only(
    web: Stack, store: Path, name: str, content_type: str
):
    (store / name).write_bytes(CONTENT)

    answer = web.client.get(f"/media/{name}")

    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.headers["x-content-type-options"] == "nosniff"
    is_shown = content_type != "application/octet-stream"
    assert answer.headers.get("content-disposition") == (None if is_shown else "attachment")


def test_pages_have_their_scripts_and_styles(web: Stack):
    for name, content_type in [
        ("gifster.js", "text/javascript"),
        ("gifster.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ]:
        answer = web.client.get(f"/static/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", [URL, "/static/gifster.js"])
def test_files_are_only_read(web: Stack, path: str):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert web.client.request(method, path).status_code == 405
    answer = web.client.options(path)
    assert answer.status_code == 200
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_an_empty_file_is_an_empty_answer(web: Stack, store: Path):
    (store / "empty.gif").write_bytes(b"")

    for headers in ({}, {"Range": "bytes=0-"}, {"Range": "bytes=-1"}):
        answer = web.client.get("/media/empty.gif", headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "0"


# Which part


RANGES = {
    "bytes=0-9": (0, 9),
    "bytes=10-": (10, SIZE - 1),
    "bytes=-10": (SIZE - 10, SIZE - 1),
    "bytes=5-5": (5, 5),
    f"bytes=0-{SIZE}": (0, SIZE - 1),
    "bytes=0-99999999999999999999": (0, SIZE - 1),
    f"bytes=-{SIZE + 1}": (0, SIZE - 1),
    "BYTES=0-9": (0, 9),
    "bytes=,0-9, ,": (0, 9),
    "bytes= 0-9": (0, 9),
}


@pytest.mark.parametrize(("asked", "part"), RANGES.items())
def test_a_range_gets_that_part(web: Stack, asked: str, part: tuple[int, int]):
    answer = get(web, Range=asked)

    first, last = part
    assert answer.status_code == 206
    assert answer.content == CONTENT[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["content-type"] == "image/gif"


@pytest.mark.parametrize(
    "asked",
    ["bytes=abc", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=--5", "bytes=+1-2", "0-9",
     "bytes=1-2-3", "bytes=0x1-0x2", "bytes=1.5-3", "bytes=٣-٤".encode().decode("latin-1"),
     "pages=1-2", "items=0-5", "bytes:0-9", "bytes=0-9;q=1", "bytes=0-1,4-5", "bytes=0-,0-,0-",
     "bytes=" + ",".join(["0-"] * 300), f"bytes={'1' * 3000}-", "="],
)  # fmt: skip
def test_anything_but_one_range_of_bytes_is_ignored(web: Stack, asked: str):
    answer = web.client.get(URL, headers={"Range": asked.encode("latin-1")})

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", "bytes=-0"])
def test_a_range_without_a_byte_is_refused(web: Stack, asked: str):
    answer = get(web, Range=asked)

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.json()["code"] == "range_not_satisfiable"


def test_head_ignores_ranges(web: Stack):
    for asked in ("bytes=0-9", f"bytes={SIZE}-", "bytes=abc"):
        answer = web.client.head(URL, headers={"Range": asked})
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))
        assert answer.headers["accept-ranges"] == "bytes"
        assert "content-range" not in answer.headers


def test_if_range_gets_the_part_of_the_same_file_and_all_of_another(web: Stack):
    whole = get(web)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]

    for same in (etag, modified):
        assert get(web, Range="bytes=0-9", If_Range=same).status_code == 206
    for other in ('"other"', f"W/{etag}", LONG_AGO, "nonsense", etag.strip('"'), f"{etag}, {etag}"):
        answer = get(web, Range="bytes=0-9", If_Range=other)
        assert (answer.status_code, answer.content) == (200, CONTENT)
    # A range without a byte is refused only if If-Range names this file.
    assert get(web, Range="bytes=999999-", If_Range=etag).status_code == 416
    assert get(web, Range="bytes=999999-", If_Range='"other"').status_code == 200


# Conditions


def test_if_none_match_compares_weakly_and_overrules_the_date(web: Stack):
    etag = get(web).headers["etag"]

    for has in (etag, f"W/{etag}", "*", f'"a", {etag}', f'"a" ,"b",{etag},', f'"a,b", {etag}'):
        answer = get(web, If_None_Match=has)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "immutable" in answer.headers["cache-control"]
    for has in ('"other"', "nonsense", ",,,", '"'):
        assert get(web, If_None_Match=has).status_code == 200
    now = get(web).headers["last-modified"]
    assert get(web, If_None_Match='"other"', If_Modified_Since=now).status_code == 200
    assert get(web, If_None_Match=etag, If_Modified_Since=LONG_AGO).status_code == 304


def test_if_modified_since_has_one_of_three_formats_or_is_ignored(web: Stack, store: Path):
    os.utime(store / KEY, (784111777.5, 784111777.5))

    assert get(web).headers["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    for date in ("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                 "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 2094 08:49:37 GMT"):  # fmt: skip
        assert get(web, If_Modified_Since=date).status_code == 304, date
    for date in ("Sun, 06 Nov 1994 08:49:36 GMT", "yesterday", "", "0", "9" * 400):
        assert get(web, If_Modified_Since=date).status_code == 200, date


def test_a_precondition_that_fails_is_a_412(web: Stack):
    whole = get(web)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]

    for same in (etag, "*", f'"a", {etag}'):
        assert get(web, If_Match=same, If_Unmodified_Since=LONG_AGO).status_code == 200
    for other in ('"other"', f"W/{etag}", "nonsense"):
        answer = get(web, If_Match=other)
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert get(web, If_Unmodified_Since=modified).status_code == 200
    assert get(web, If_Unmodified_Since="nonsense").status_code == 200
    assert get(web, If_Unmodified_Since=LONG_AGO).status_code == 412
    # If-Match comes before the other conditions, and before ranges.
    assert (
        get(web, If_Match='"other"', If_None_Match="*", Range="bytes=9999999-").status_code == 412
    )


def test_a_file_rewritten_within_a_second_has_another_etag(web: Stack, store: Path):
    file = store / "twice.gif"
    etags = set()
    for nanoseconds in (1, 2):
        file.write_bytes(CONTENT)
        os.utime(file, ns=(0, 10**18 + nanoseconds))
        etags.add(web.client.get("/media/twice.gif").headers["etag"])

    assert len(etags) == 2


# Many clients, and slow ones


@pytest.fixture
def slow_readers(web: Stack) -> Iterator[list[socket.socket]]:
    """Clients that have asked for a large file, and read nothing of it."""
    with ExitStack() as stack:
        readers = []
        for _ in range(300):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", web.port))
            reader.sendall(f"GET /media/{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            readers.append(reader)
        yield readers


def web_process(web: Stack) -> psutil.Process:
    return psutil.Process(web.processes[0].pid).children()[0]


def open_files(process: psutil.Process) -> int:
    return sum(file.path.endswith(LARGE) for file in process.open_files())


@only_in_ci("300 slow readers; the others read files daily")
def test_slow_readers_occupy_no_thread_and_little_memory(
    web: Stack, slow_readers: list[socket.socket]
):
    process = web_process(web)
    eventually(lambda: open_files(process) == len(slow_readers))

    # Everybody else is served, a large file too
    assert len(web.client.get(f"/media/{LARGE}").content) == LARGE_BYTES
    assert get(web).content == CONTENT
    assert process.memory_info().rss < 400 * 2**20

    # They go away, and leave nothing behind
    for reader in slow_readers:
        reader.close()
    eventually(lambda: open_files(process) == 0)


def test_many_clients_ask_for_parts_at_once(web: Stack):
    wrong = []

    def ask(number: int) -> None:
        first = number * 97 % SIZE
        answer = httpx.get(web.client.base_url.join(URL), headers={"Range": f"bytes={first}-"})
        if answer.content != CONTENT[first:]:
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
