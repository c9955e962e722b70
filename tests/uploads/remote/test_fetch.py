"""Uploads fetched by their URL: from real servers, and from nowhere that is private."""

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from gifster.uploads import errors
from gifster.uploads.remote import answer as remote_answer
from gifster.uploads.remote import downloader as remote
from tests.uploads.framework import Application, AvatarUploader, Person
from tests.uploads.remote.servers import GIF, Answer, fetched, redirects, sends, serving


def test_a_file_is_fetched_and_stored(app: Application):
    seen = {}

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        seen.update(path=request.path, host=request.headers["Host"])
        sends(GIF)(request)

    with serving(answer) as url:
        person = fetched(f"{url}/some%20cats/my%20cät.gif?size=1")
        person.save()
    app.work()

    stored = Person.get_by_id(person.id).avatar.stored
    assert (stored.filename, stored.width) == ("my cät.gif", 80)
    assert seen == {"path": "/some%20cats/my%20c%C3%A4t.gif?size=1", "host": url[7:]}


def test_redirects_are_followed_and_checked(app: Application):
    with serving(sends(GIF)) as target, serving(redirects(f"{target}/a.gif")) as url:
        assert fetched(url).avatar.assigned.filename == "a.gif"

    with serving(lambda request: redirects(request.path + "x")(request)) as url:
        with pytest.raises(errors.RemoteFailed, match="more than 5 times"):
            fetched(url)

    for target in ("file:///etc/passwd", "gopher://localhost/", "http://user:pw@localhost/"):
        with serving(redirects(target)) as url, pytest.raises(errors.RemoteUrlInvalid):
            fetched(url)


def test_https_is_checked_against_the_name(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def server_of(name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    with serving(sends(GIF), server_of("localhost")) as url:
        assert fetched(url).avatar.assigned.bytes == len(GIF)
        # The dot at the end of a whole name is not in the certificate
        real = socket.getaddrinfo
        monkeypatch.setattr(
            remote.socket, "getaddrinfo", lambda host, *a, **k: real(host.rstrip("."), *a, **k)
        )
        assert fetched(url.replace("localhost", "localhost.")).avatar.assigned
    with serving(sends(GIF), server_of("example.org")) as url:
        with pytest.raises(errors.RemoteFailed, match="localhost"):
            fetched(url)


@pytest.mark.parametrize(
    "url",
    ["", "cat.gif", "/etc/passwd", "file:///etc/passwd", "ftp://example.org/a", "http://",
     "http://[::1", "http://user:secret@example.org/", "data:,x", "http://example.org:99999/"],
)  # fmt: skip
def test_a_text_that_is_no_url_is_refused(app: Application, url: str):
    with pytest.raises(errors.RemoteUrlInvalid):
        Person().avatar.assign_remote(url)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
     "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "2130706433", "0x7f.1",
     "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[ff02::1]", "[::ffff:127.0.0.1]",
     "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fec0::1]", "[fd00:ec2::254]"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(application: Application, host: str):
    try:
        socket.getaddrinfo(host.strip("[]"), 80)
    except OSError:
        pytest.skip("this machine cannot parse that address")

    with pytest.raises(errors.RemoteAddressRefused):
        fetched(f"http://{host}/a.gif")


def test_a_redirect_into_a_private_network_is_refused(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a server that is public, as far as the first look goes
    monkeypatch.setattr(remote, "_public", lambda address: address.compressed != "127.0.0.2")

    with serving(sends(GIF)) as url:
        assert fetched(url).avatar.assigned
    with serving(redirects("http://127.0.0.2/latest/meta-data/")) as url:
        with pytest.raises(errors.RemoteAddressRefused):
            fetched(url)


def test_a_host_with_one_private_address_is_refused(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    entries = [(0, 0, 0, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(remote.socket, "getaddrinfo", lambda *a, **k: entries)

    with pytest.raises(errors.RemoteAddressRefused):
        fetched("http://example.org/a.gif")


def test_an_address_that_takes_no_connection_leaves_it_to_the_next(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a name with an IPv6 address where nobody answers, as for many machines without IPv6
    real, entries = socket.getaddrinfo, [(0, 0, 0, "", (at, 0)) for at in ("::1", "127.0.0.1")]
    monkeypatch.setattr(
        remote.socket,
        "getaddrinfo",
        lambda host, *a, **k: entries if host == "two.test" else real(host, *a, **k),
    )

    with serving(sends(GIF)) as url:
        port = url.rpartition(":")[2]
        assert fetched(f"http://two.test:{port}/").avatar.assigned
    with pytest.raises(errors.RemoteFailed, match="did not answer"):  # nor does the other
        fetched(f"http://two.test:{port}/")


def test_the_address_that_was_checked_is_the_one_connected_to(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a name that means another address with each look ("DNS rebinding")
    real, looks = socket.getaddrinfo, []

    def rebinding(host: str, *arguments: Any, **options: Any) -> Any:
        looks.append(host)
        name = "127.0.0.1" if len(looks) == 1 or host != "rebinding.test" else "127.0.0.9"
        return real(name if host == "rebinding.test" else host, *arguments, **options)

    monkeypatch.setattr(remote.socket, "getaddrinfo", rebinding)
    with serving(sends(GIF)) as url:
        port = url.rpartition(":")[2]
        assert fetched(f"http://rebinding.test:{port}/").avatar.assigned

    assert looks.count("rebinding.test") == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (sends(b""), errors.EmptyFile),
        (sends(b"<html>not found</html>" * 30), errors.TypeNotAllowed),
        (sends(GIF[:-5]), errors.Truncated),
        (sends(GIF, Content_Length=str(len(GIF) + 5)), errors.RemoteFailed),
        (sends(b"", Content_Length="2000000"), errors.TooLarge),
        (sends(GIF + bytes(2_000_000)), errors.TooLarge),
        (lambda request: request.send_error(404), errors.RemoteFailed),
        (lambda request: request.wfile.write(b"nonsense"), errors.RemoteFailed),
        (lambda request: request.connection.close(), errors.RemoteFailed),
    ],
)
def test_a_fetch_that_fails_leaves_nothing(
    app: Application, answer: Answer, error: type[Exception]
):
    with serving(answer) as url, pytest.raises(error):
        fetched(url)

    assert app.cached == []


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_trickles_is_cut(
    app: Application, monkeypatch: pytest.MonkeyPatch, part: str
):
    monkeypatch.setattr(remote.Downloader, "total_s", 0.5)
    over = threading.Event()

    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\nGIF89a" if part == "body" else b"X: "))
        try:
            while not over.wait(0.05):
                request.wfile.write(b"x")
        except OSError:
            pass

    with serving(trickle) as url, pytest.raises(errors.RemoteFailed):
        try:
            fetched(url)
        finally:
            over.set()
    assert app.cached == []


def test_a_server_that_takes_the_connection_too_late_gets_no_request(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a server whose queue of connections is full until the time of the fetch is over. It
    # could trickle then for as long as it likes
    monkeypatch.setattr(remote.Downloader, "total_s", 0.3)
    requests: list[bytes] = []
    cut, over = remote_answer._cut, threading.Event()
    monkeypatch.setattr(remote_answer, "_cut", lambda *of: cut(*of) or over.set())

    def serve(listener: socket.socket, queued: list[socket.socket]) -> None:
        over.wait(60)
        for waiting in queued:
            waiting.close()
        while True:
            connection, (_, port) = listener.accept()
            with connection:
                connection.settimeout(60)
                if port not in ports:
                    requests.append(connection.recv(65536))
                    return

    with full_listener() as (listener, queued):
        ports = {waiting.getsockname()[1] for waiting in queued}
        server = threading.Thread(target=serve, args=(listener, queued))
        server.start()
        with pytest.raises(errors.RemoteFailed):
            fetched(f"http://127.0.0.1:{listener.getsockname()[1]}/a.gif")
        server.join(60)

    assert requests == [b""]


@contextmanager
def full_listener() -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listening socket that takes no more connections for now, and those that wait in it."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued: list[socket.socket] = []
        while True:
            waiting = sockets.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                waiting.close()
                break
            queued.append(waiting)
        yield listener, queued


def test_nobody_there(app: Application):
    with pytest.raises(errors.RemoteFailed, match="no host"):
        fetched("http://nobody.invalid/a.gif")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.RemoteFailed):
            fetched(f"http://127.0.0.1:{taken.getsockname()[1]}/a.gif")


def test_a_name_is_checked_as_any_upload_is(app: Application, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(AvatarUploader, "extensions", {"png"})
    with serving(sends(GIF)) as url, pytest.raises(errors.ExtensionNotAllowed):
        fetched(f"{url}/a.gif")
