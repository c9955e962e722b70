"""Odd URLs and redirects: they lead where a browser would go, or are refused."""

import socket
from typing import Any

import pytest

from gifster.uploads import errors
from gifster.uploads.remote import downloader as remote
from tests.uploads.framework import Application
from tests.uploads.remote.servers import GIF, LENGTH, OK, fetched, moved, sending

# Where a redirect leads


@pytest.mark.parametrize(
    ("location", "target", "filename"),
    [
        ("/cät/Å.gif".encode(), "/c%C3%A4t/%C3%85.gif", "Å.gif"),
        (b"/c%C3%A4t.gif", "/c%C3%A4t.gif", "cät.gif"),
        (b"/\xe4.gif", "/%E4.gif", None),
        ("http://127.0.0.1:PORT/猫.gif?q=ü".encode(), "/%E7%8C%AB.gif?q=%C3%BC", "猫.gif"),
        (b"b.gif", "/a/b.gif", "b.gif"),
        (b"../b.gif", "/b.gif", "b.gif"),
        (b"//127.0.0.1:PORT/b.gif", "/b.gif", "b.gif"),
        (b"?page=2", "/a/a.gif?page=2", "a.gif"),
        (b"/b.gif#part", "/b.gif", "b.gif"),
        (b"  /b c.gif  ", "/b%20c.gif", "b c.gif"),
        (b"/%00%0d%0a.gif", "/%00%0d%0a.gif", None),
    ],
)
def test_a_redirect_leads_where_a_browser_would_go(
    app: Application, location: bytes, target: str, filename: str | None
):
    with sending(moved(location), OK + LENGTH + b"\r\n" + GIF) as server:
        person = fetched(f"{server.url}/a/a.gif")

    assert server.targets == ["/a/a.gif", target]
    assert filename in (None, person.avatar.assigned.filename)


@pytest.mark.parametrize("location", [b"", b"   "])
def test_a_redirect_to_nowhere_fails(app: Application, location: bytes):
    with sending(moved(location)) as server:
        with pytest.raises(errors.RemoteFailed, match="302"):
            fetched(server.url)


def test_a_redirect_carries_no_cookies_and_no_referrer(app: Application):
    first = moved(b"/b").replace(b"Location", b"Set-Cookie: a=b\r\nLocation")
    with sending(first, OK + LENGTH + b"\r\n" + GIF) as server:
        fetched(f"{server.url}/a")

    names = {line.partition(":")[0] for line in server.heads[1].split("\r\n")[1:] if line}
    assert names == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


# What a URL contains


def host_of(url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The host and port that are looked up for a URL."""
    asked: list[Any] = []

    def look_up(host: str, port: int, **_: Any) -> Any:
        asked.append((host, port))
        raise socket.gaierror

    monkeypatch.setattr(remote.socket, "getaddrinfo", look_up)
    with pytest.raises(errors.UploadError):
        fetched(url)
    return asked[0]


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://bücher.example/", "xn--bcher-kva.example", 80),
        ("https://BÜCHER.example/", "xn--bcher-kva.example", 443),
        # IDNA 2003, as in Python's own codec, leads to strasse.example: somebody else's
        ("http://straße.example/", "xn--strae-oqa.example", 80),
        ("http://例え.テスト/", "xn--r8jz45g.xn--zckzah", 80),
        ("http://bücher。example/", "xn--bcher-kva.example", 80),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1", 80),
        ("http://example.org./", "example.org.", 80),
        ("http://my_bucket.example.org:8080/", "my_bucket.example.org", 8080),
        ("http://[::1]/", "::1", 80),
        ("http://[::ffff:127.0.0.1]:8080/", "::ffff:7f00:1", 8080),
        ("http://0x7f.1/", "0x7f.1", 80),
        ("\t http://example.org/ \n", "example.org", 80),
        ("http://exam\nple.org/", "example.org", 80),
    ],
)
def test_hosts_are_looked_up_as_browsers_do(
    app: Application, monkeypatch: pytest.MonkeyPatch, url: str, host: str, port: int
):
    assert host_of(url, monkeypatch) == (host, port)


@pytest.mark.parametrize(
    "url",
    ["http://@example.org/", "http://:@example.org/", "http://a@b@example.org/",
     "http://example.org\\@127.0.0.1/", "http://127.0.0.1\\.example.org/", "http://127%2e0.0.1/",
     "http://exa mple.org/", "http://exam\x00ple.org/", "http://a..b/", "http://.a/", "http://-.é/",
     "http://☃☃.example/", f"http://{'a' * 300}.example/", f"http://{'ä' * 70}.example/",
     "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[v1.a]/", "http://[127.0.0.1]/",
     "http://[::1]a/", "http://example.org:0/", "http://example.org:-1/", "http://example.org:٨٠/",
     f"http://example.org/{'a' * 9000}",
     "http:/example.org/", "http:example.org", "HTTP+UNIX://a/", "javascript:alert(1)"],
)  # fmt: skip
def test_a_text_that_is_no_url_of_a_host_is_refused(app: Application, url: str):
    with pytest.raises(errors.RemoteUrlInvalid):
        fetched(url)


def test_a_url_with_half_a_character_is_refused(app: Application):
    for url in ("http://example.org/\ud800", "http://\ud800.org/"):
        with pytest.raises(errors.RemoteUrlInvalid):
            fetched(url)


@pytest.mark.parametrize("port", [1, 21, 22, 25, 53, 110, 143, 465, 587, 993, 1023, 2049, 5060,
                                  6000, 6667, 10080])  # fmt: skip
def test_ports_of_other_protocols_are_refused(app: Application, port: int):
    with pytest.raises(errors.RemoteUrlInvalid, match=f"port {port}"):
        fetched(f"http://127.0.0.1:{port}/")
    with sending(moved(b"http://127.0.0.1:%d/" % port)) as server:
        with pytest.raises(errors.RemoteUrlInvalid, match=f"port {port}"):
            fetched(server.url)


def test_the_host_header_is_the_name_that_was_looked_up(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    real = socket.getaddrinfo
    monkeypatch.setattr(
        remote.socket,
        "getaddrinfo",
        lambda host, *a, **k: real("127.0.0.1" if "example" in host else host, *a, **k),
    )
    for host, sent in [("bücher.example", "xn--bcher-kva.example"), ("a.example.", "a.example.")]:
        with sending(OK + LENGTH + b"\r\n" + GIF) as server:
            fetched(f"http://{host}:{server.port}/")
        assert f"\r\nHost: {sent}:{server.port}\r\n" in server.heads[0]
