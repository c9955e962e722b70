"""Remote files: the headers of the request, the name in the answer, own downloaders."""

import http.server
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import (
    CacheListField,
    Downloader,
    Uploader,
    errors,
    mount_uploaders,
    store_in_background,
)
from gifster.uploads.remote import downloader as remote
from gifster.uploads.remote.downloader import fetch
from gifster.uploads.remote.headers import request_headers
from gifster.uploads.remote.url import parse
from tests.uploads.framework import Application, AvatarUploader, Base, Person
from tests.uploads.remote.servers import (
    GIF,
    OK,
    Answer,
    fetched,
    redirects,
    sending,
    sends,
    serving,
)

SECRET = {"Authorization": "Bearer secret"}


def noting(seen: list[Mapping[str, str]], answer: Answer) -> Answer:
    def note(request: http.server.BaseHTTPRequestHandler) -> None:
        seen.append({"path": request.path, **request.headers})
        answer(request)

    return note


def test_a_request_has_the_headers_of_the_class_the_record_and_the_call(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AvatarUploader, "remote_headers", {"X-Class": "1", "X-Both": "class"})
    seen: list[Mapping[str, str]] = []

    with serving(noting(seen, sends(GIF))) as url:
        Person().avatar.assign_remote(f"{url}/a.gif", {"x-both": "call", "user-agent": "mine"})
        person = Person()
        person.remote_avatar_request_headers = SECRET
        person.remote_avatar_url = f"{url}/a.gif"

    call, record = ({name.lower(): value for name, value in each.items()} for each in seen)
    assert (call["x-class"], call["x-both"], call["user-agent"]) == ("1", "call", "mine")
    assert "authorization" not in call
    assert (record["authorization"], record["x-both"]) == ("Bearer secret", "class")
    assert record["user-agent"] == "gifster-uploads"


@store_in_background("files")
class Folder(Base):
    files = mount_uploaders(AvatarUploader)
    files_tmp = CacheListField()


def test_each_file_of_a_list_has_headers_of_its_own(app: Application):
    app.create_tables(Folder)
    seen: list[Mapping[str, str]] = []
    named = sends(GIF, Content_Disposition="attachment; filename=b.gif")

    with serving(noting(seen, named)) as url:
        folder = Folder()
        folder.files.append_remote(f"{url}/1", {"X-Number": "1"})
        folder.files.append_remote(f"{url}/2")
        folder.save()
        # and of those that are assigned at once, all have them, or each
        other = Folder()
        other.remote_files_request_headers = {"X-Number": "3"}
        other.remote_files_urls = [f"{url}/3", f"{url}/4"]
        other.remote_files_request_headers = [{"X-Number": "5"}]
        other.remote_files_urls = [f"{url}/5", f"{url}/6"]
    app.work()

    assert [each.get("X-Number") for each in seen] == ["1", None, "3", "3", "5", None]
    files = Folder.get_by_id(folder.id).files
    assert [file.stored.filename for file in files] == ["b.gif", "b.gif"]


def test_headers_stay_with_their_host_on_a_redirect(app: Application):
    here: list[Mapping[str, str]] = []
    there: list[Mapping[str, str]] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        if request.path == "/a":
            redirects("/b")(request)
        elif request.path == "/b":
            redirects(f"{other}/c")(request)
        else:
            sends(GIF)(request)

    with serving(noting(here, answer)) as url:
        with serving(noting(there, redirects(f"{url}/d"))) as other:
            Person().avatar.assign_remote(f"{url}/a", SECRET)

    # The other server sends us back, and must not choose what our secret opens
    assert [(each["path"], "Authorization" in each) for each in here] == [
        ("/a", True), ("/b", True), ("/d", False),
    ]  # fmt: skip
    assert [(each["path"], "Authorization" in each) for each in there] == [("/c", False)]


@pytest.mark.parametrize(
    ("first", "second", "may"),
    [
        ("http://a.example/x", "http://a.example/y", True),
        ("http://a.example/x", "https://a.example/x", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("http://a.example:8080/x", "https://a.example/x", False),
        ("https://a.example/x", "https://a.example:8443/x", False),
        ("https://a.example/x", "https://b.a.example/x", False),
        ("https://A.example/x", "https://a.example./x", False),
    ],
)
def test_which_url_may_know_a_secret_for_another(first: str, second: str, may: bool):
    assert parse(second).may_know_what(parse(first)) is may


@pytest.mark.parametrize(
    ("url", "target"),
    [
        # CarrierWave's spec/downloader/base_spec.rb, "#process_uri"
        ("http://ドメイン名例.jp/юникод.jpg", "/%D1%8E%D0%BD%D0%B8%D0%BA%D0%BE%D0%B4.jpg"),
        ("http://example.com/%5B.jpg", "/%5B.jpg"),
        ("http://example.com/o%CC%88.png", "/o%CC%88.png"),
        ("http://example.com/?foo[]=bar", "/?foo[]=bar"),
        ("http://example.com/].jpg?test[]", "/%5D.jpg?test[]"),
        ("http://example.com/?s=https%3A%2F%2Fi.example%2Fv", "/?s=https%3A%2F%2Fi.example%2Fv"),
        ("http://example.com/あああ.jpg", "/%E3%81%82%E3%81%82%E3%81%82.jpg"),
        ("http://example.com/?q=Ж#あああ", "/?q=%D0%96"),
        ("https://example.com/a?with=equal&before=colon:param", "/a?with=equal&before=colon:param"),
        ("http://example.com/my test.jpg", "/my%20test.jpg"),
        # Here a percent sign counts as an escape, as in browsers; CarrierWave makes it %25
        ("http://example.com/ %[].jpg", "/%20%%5B%5D.jpg"),
    ],
)
def test_a_url_is_escaped_as_in_carrierwave(url: str, target: str):
    assert parse(url).target == target


@pytest.mark.parametrize(
    "header",
    [("Host", "internal"), ("content-length", "5"), ("Transfer-Encoding", "chunked"), ("", "x"),
     ("X Y", "x"), ("X", "secret\r\nHost: internal"), ("X", "secret\0"), ("X", "secret€")],
)  # fmt: skip
def test_a_header_that_could_change_the_request_is_refused(app: Application, header: Any):
    with pytest.raises(ValueError, match="header") as raised:
        Person().avatar.assign_remote("http://127.0.0.1/", dict([header]))

    assert "secret" not in str(raised.value)


def test_a_header_of_ours_is_replaced_in_any_case():
    headers = request_headers({"ACCEPT": "image/gif", "accept": "image/*"})

    assert [value for name, value in headers.items() if name.lower() == "accept"] == ["image/*"]


@pytest.mark.parametrize(
    ("field", "path", "content_type", "name"),
    [
        # CarrierWave's spec/downloader/remote_file_spec.rb
        ("", "/test", "image/jpeg", "test.jpg"),
        ('filename="another_test.jpg"', "/test", "image/jpeg", "another_test.jpg"),
        ('filename=""', "/test", "image/jpeg", "test.jpg"),
        ("filename=", "/test", "image/jpeg", "test.jpg"),
        ("filename=another_test.jpg", "/test", "image/jpeg", "another_test.jpg"),
        ("filename=another_test.jpg; size=1234", "/test", "", "another_test.jpg"),
        ('filename="another;_test.jpg"; size=1234', "/test", "", "another;_test.jpg"),
        # RFC 6266, 5, and RFC 8187, 3.2.3
        ("Attachment; filename=example.html", "/", "", "example.html"),
        ("INLINE; FILENAME= \"an example.html\"", "/", "", "an example.html"),
        ("attachment; filename*= UTF-8''%e2%82%ac%20rates", "/", "image/gif", "€ rates.gif"),
        ("attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates.gif", "/", "",
         "€ rates.gif"),
        ("attachment; filename*=UTF-8''a.gif; filename=b.gif", "/", "", "a.gif"),
        (r'attachment; filename="a \"b\".gif"', "/", "", 'a "b".gif'),
        ("attachment; filename=\"na\u00c3\u00afve.gif\"", "/", "", "naïve.gif"),
        ("attachment; filename=\"na\u00efve.gif\"", "/", "", "naïve.gif"),
        # What is not a name
        ("attachment", "/a.gif", "", "a.gif"),
        ("attachment; filename*=b.gif", "/a.gif", "", "b.gif"),
        (";;=;\"", "/a.gif", "", "a.gif"),
        ("attachment; filename=\"../../etc/passwd.gif\"", "/", "", "passwd.gif"),
        ("", "/a", "text/made-up; charset=x", "a"),
        ("", "/", "image/png", "upload.png"),
    ],
)  # fmt: skip
def test_the_name_is_that_of_the_answer(
    app: Application, field: str, path: str, content_type: str, name: str
):
    head = OK + f"Content-Disposition: {field}\r\n".encode("latin-1")
    if content_type:
        head += f"Content-Type: {content_type}\r\n".encode()
    with sending(head + b"\r\n" + GIF) as server:
        assert fetched(server.url + path).avatar.assigned.filename == name


def test_a_name_with_an_extension_from_the_type_passes_the_uploaders_check(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AvatarUploader, "extensions", {"gif"})

    with serving(sends(GIF, Content_Type="image/gif")) as url:
        assert fetched(f"{url}/image?id=1").avatar.assigned.filename == "image.gif"
    with serving(sends(GIF, Content_Disposition="attachment; filename=a.exe")) as url:
        with pytest.raises(errors.ExtensionNotAllowed):
            fetched(f"{url}/a.gif")


class Patient(Downloader):
    retries = 2
    retry_wait_s = 0.0


def test_a_downloader_can_try_again(app: Application, monkeypatch: pytest.MonkeyPatch):
    busy, gone = (b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % s for s in (b"503 Busy", b"404 No"))
    good = OK + b"\r\n" + GIF

    with sending(busy, good) as server, pytest.raises(errors.RemoteFailed, match="503"):
        fetched(server.url)
    monkeypatch.setattr(AvatarUploader, "downloader", Patient)
    with sending(busy, b"", good) as server:
        assert fetched(server.url).avatar.assigned.bytes == len(GIF)
    with sending(busy, busy, busy, good) as server, pytest.raises(errors.RemoteFailed, match="503"):
        fetched(server.url)
    # A file that is not there will not be there a moment later
    with sending(gone, good) as server, pytest.raises(errors.RemoteFailed, match="404"):
        fetched(server.url)
    # Nor is there a pause that ends after the time for all of it
    monkeypatch.setattr(Patient, "retry_wait_s", 60.0)
    with sending(busy, good) as server, pytest.raises(errors.RemoteFailed, match="503"):
        fetched(server.url)


def test_a_downloader_can_allow_a_host_of_its_own(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    class OurArchive(Downloader):
        def allows(self, host: str, address: remote.Address) -> bool:
            return host == "localhost" or super().allows(host, address)

    monkeypatch.setattr(AvatarUploader, "downloader", OurArchive())

    with serving(sends(GIF)) as url:
        assert fetched(url).avatar.assigned
        # but not another one that leads to the same server
        with pytest.raises(errors.RemoteAddressRefused):
            fetched(url.replace("localhost", "127.0.0.1"))
    with serving(redirects("http://127.0.0.1:8089/")) as url:
        with pytest.raises(errors.RemoteAddressRefused):
            fetched(url)


def downloaded(rules: type[Uploader], url: str, headers: Mapping[str, str]) -> Any:
    return SOURCES[url.partition("://")[2].partition("/")[0]]()


OPEN = io.BytesIO(GIF)
SOURCES: dict[str, Any] = {
    "bytes": lambda: GIF,
    "open": lambda: OPEN,
    "text": lambda: b"nonsense",
    "large": lambda: GIF + bytes(2_000_000),
}


def test_a_downloader_of_ones_own_returns_what_can_be_assigned(
    application: Application, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(AvatarUploader, "downloader", downloaded)
    (tmp_path / "b.gif").write_bytes(GIF)
    monkeypatch.setitem(SOURCES, "path", lambda: tmp_path / "b.gif")

    names = {kind: fetched(f"archive://{kind}/a%20b.gif").avatar.assigned.filename
             for kind in ("bytes", "open", "path")}  # fmt: skip

    assert names == {"bytes": "a b.gif", "open": "a b.gif", "path": "b.gif"}
    assert OPEN.closed
    # The limits of the uploader are kept, whoever downloads
    with pytest.raises(errors.TypeNotAllowed):
        fetched("archive://text/a.gif")
    with pytest.raises(errors.TooLarge):
        fetched("archive://large/a.gif")


def test_a_downloader_of_ones_own_can_hand_on(app: Application, monkeypatch: pytest.MonkeyPatch):
    seen: list[Mapping[str, str]] = []

    def signed(rules: type[Uploader], url: str, headers: Mapping[str, str]) -> Any:
        return fetch(rules, f"{url}?signature=1", {**headers, "X-Date": "today"})

    monkeypatch.setattr(AvatarUploader, "downloader", signed)
    with serving(noting(seen, sends(GIF))) as url:
        person = Person()
        person.avatar.assign_remote(f"{url}/a.gif", SECRET)
        person.save()
    app.work()

    assert Person.get_by_id(person.id).avatar.stored.filename == "a.gif"
    assert (seen[0]["path"], seen[0]["X-Date"]) == ("/a.gif?signature=1", "today")
    assert seen[0]["Authorization"] == "Bearer secret"
    assert len(app.stored) == 2
    assert app.cached == []
