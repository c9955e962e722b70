"""Titles, tags, names, searches, addresses and passwords: which are cleaned and which are refused.
Both databases get clean texts, whichever way they came in."""

import unicodedata

import argon2
import pytest
from click.testing import CliRunner

from chaos.odd_texts import cursor_of
from gifster import jobs
from gifster.app import accounts, library, lists
from gifster.app.library import BadQuery, Conflict, Denied, Invalid, NotFound
from gifster.app.models import Gif, GifTag, ImageUploader, Tag, User
from gifster.app.settings import Settings
from gifster.cli import cli
from gifster.uploads.errors import DataUriInvalid, RemoteUrlInvalid
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.remote.downloader import fetch
from tests.app.gifs import cached
from tests.combinations import on_sqlite
from tests.stack import Stack

FAMILY = "👩\u200d👩\u200d👧"
PERSIAN = "می\u200cروم"
MARKS = "a" + "\u0301\u0316" * 10_000


def new_gif(**fields: object) -> Gif:
    return library.add_gif(cached(filename="a name.gif"), **fields)


def test_titles_and_tags_are_kept_as_people_see_them(booted: Settings):
    # Given texts as they are pasted
    gif = new_gif(
        title=f" {FAMILY}\u00a0\u202ecat\u202c\u200b {PERSIAN}\n",
        tags=["Ka\u0308fer", "käfer", "\u3000cat\u200e", "CAT", "\u3164", "c\u200dat"],
    )

    # I expect them as people see them, and each tag once
    assert Gif.get_by_id(gif.id).title == f"{FAMILY} cat {PERSIAN}"
    assert lists.tags_of([gif])[gif.id] == ["cat", "käfer"]

    # And to find them by either spelling
    for q in ("KA\u0308FER".lower(), "käfer", "ca\u200bt", f"  {FAMILY}\u2003cat "):
        assert lists.list_gifs(q=q)[0] == [gif]
    assert lists.list_gifs(tag="KA\u0308FER")[0] == [gif]

    # And nothing to be left of invisible characters
    assert library.edit_gif(gif.id, None, title="\u3164 a").title == "\u3164 a"
    with pytest.raises(Invalid, match="needs a title"):
        library.edit_gif(gif.id, None, title="\u3164\u200b\u2800")
    assert new_gif(title="\u3164").title == "a name"


REFUSED = {
    "a NUL": ({"title": "a\0"}, "title_invalid"),
    "a bell": ({"title": "a\x07"}, "title_invalid"),
    "a lone surrogate": ({"title": "a\ud800"}, "title_invalid"),
    "a noncharacter": ({"title": "a\uffff"}, "title_invalid"),
    "a tag with a NUL": ({"tags": ["a\0"]}, "tag_invalid"),
    "a tag with a lone surrogate": ({"tags": ["\udfff"]}, "tag_invalid"),
    "201 characters": ({"title": "a" * 201}, "title_too_long"),
    "20,000 marks": ({"title": MARKS}, "title_too_long"),
    "a tag of 20,000 marks": ({"tags": [MARKS]}, "tag_too_long"),
    "a tag that is longer in lower case": ({"tags": ["İ" * 26]}, "tag_too_long"),
    "21 tags": ({"tags": map(str, range(21))}, "too_many_tags"),
    "100,000 tags that are one": ({"tags": ["a"] * 100_000}, "too_many_tags"),
}


@on_sqlite
def test_texts_that_only_programs_send_are_refused(booted: Settings):
    file = cached(filename="a name.gif")
    for name, (fields, code) in REFUSED.items():
        with pytest.raises(Invalid) as refused:
            library.add_gif(file, **fields)
        assert refused.value.code == code, name

    assert Gif.select().count() == Tag.select().count() == GifTag.select().count() == 0


def test_impossible_searches_and_ids_are_refused(booted: Settings):
    for asked, code in [
        ({"q": "a\0"}, "q_invalid"),
        ({"q": "\ud800"}, "q_invalid"),
        ({"q": "a" * 50_000}, "q_too_long"),
        ({"tag": "a\0"}, "tag_invalid"),
        ({"tag": "a" * 51}, "tag_too_long"),
        ({"cursor": cursor_of(f"{2**63}.{'a' * 12}")}, "cursor_invalid"),
        ({"cursor": cursor_of(f"{'9' * 5_000}.{'a' * 12}")}, "cursor_invalid"),
        ({"cursor": cursor_of("1.aaaaaaaaaaa\0")}, "cursor_invalid"),
        ({"cursor": "!" + cursor_of(f"1.{'a' * 12}")}, "cursor_invalid"),
    ]:
        with pytest.raises(BadQuery) as refused:
            lists.list_gifs(**asked)
        assert refused.value.code == code, asked
    for gif_id in ("a\0", "\ud800", "a" * 50_000, ""):
        with pytest.raises(NotFound):
            library.get_gif(gif_id)
        assert lists.get_gifs([gif_id]) == []


ADDRESSES = {
    "two": "a@b.c,c@d.e",
    "a display name": "foo<bar@baz.org>",
    "a comment": "a(b)@c.de",
    "quotes": '"a b"@c.de',
    "two dots": "a..b@c.de",
    "an address literal": "a@[127.0.0.1]",
    "a header": "a@b.c\nBcc: d@e.f",
    "a NUL": "a\0@b.c",
    "a lone surrogate": "a\ud800@b.c",
    "an invisible character": "a\u200b@b.c",
    "a local part that most servers refuse": "jürgen@b.c",
    "a local part of 65 characters": "a" * 65 + "@" + "b" * 200 + ".c",
    "20,000 marks": MARKS + "@b.c",
    "a domain of no dots": "a@intranet",
    "localhost": "a@localhost",
    "a domain of the network's": "a@home.local",
    "a domain that IDNA does not have": "a@😀.org",
}


@on_sqlite
def test_malformed_addresses_are_refused(booted: Settings):
    for name, address in ADDRESSES.items():
        with pytest.raises(Invalid) as refused:
            accounts.sign_up(address, "correct horse")
        assert refused.value.code == "email_invalid", name
        assert "email" not in str(refused.value), name

    with pytest.raises(Invalid) as refused:
        accounts.sign_up("ann", "correct horse")
    assert str(refused.value) == (
        "'ann' is not an e-mail address: an e-mail address must have an @-sign."
    )
    assert User.select().count() == jobs.Job.select().count() == 0


def test_in_house_addresses_are_accepted_if_a_setting_says_so(booted: Settings):
    for address in ("a@intranet", "a@localhost", "a@home.local"):
        assert accounts.sign_up(address, "correct horse", in_house=True).email == address
    with pytest.raises(Invalid):
        accounts.sign_up("a@nowhere.invalid", "correct horse", in_house=True)


def test_an_address_has_one_account_however_it_is_spelt(booted: Settings):
    spellings = ["Ann@exämple.org", "ann@xn--exmple-cua.org", " ANN@EXA\u0308MPLE.ORG\n",
                 "ann@\uff45xämple\u3002org"]  # fmt: skip
    ann = accounts.sign_up(spellings[0], "correct horse")

    assert ann.email == "ann@xn--exmple-cua.org"
    for spelling in spellings:
        assert accounts.log_in(spelling, "correct horse") == ann
        with pytest.raises(Conflict):
            accounts.sign_up(spelling, "correct horse")
    assert accounts.set_admin(spellings[-1]).is_admin
    for nobody in ("\0", "\ud800", "a" * 50_000, ""):
        with pytest.raises(Denied):
            accounts.log_in(nobody, "a")
        with pytest.raises(NotFound):
            accounts.set_admin(nobody)


def test_accounts_of_earlier_releases_still_log_in(booted: Settings):
    kept = argon2.PasswordHasher(1, 8, 1).hash(unicodedata.normalize("NFD", "schlüssel"))
    for address in ("a@b,c@d", "jürgen@exämple.org", "a@localhost"):
        user = User.create(email=address, name="a", password_hash=kept)
        password = unicodedata.normalize("NFD", "schlüssel")
        assert accounts.log_in(address.upper(), password) == user
    with pytest.raises(Conflict):  # it is one of theirs
        accounts.sign_up("a@localhost", "correct horse", in_house=True)


def test_a_password_is_the_same_from_any_keyboard(booted: Settings):
    ann = accounts.sign_up("ann@example.org", "schlu\u0308ssel\u00a0💩")

    assert accounts.log_in("ann@example.org", "schlüssel 💩") == ann
    with pytest.raises(Denied):
        accounts.log_in("ann@example.org", "schlussel 💩")


def test_a_name_may_have_what_names_have(booted: Settings):
    ann = accounts.sign_up("ann@example.org", "correct horse", f"{PERSIAN}\u00a0{FAMILY}\u202e")
    bob = accounts.sign_up("bob@example.org", "correct horse", "\u3164\u3164")

    assert ann.name == f"{PERSIAN} {FAMILY}"
    assert bob.name == "bob"
    with pytest.raises(Invalid, match="cannot have control characters"):
        accounts.sign_up("cid@example.org", "correct horse", "a\x07")


@on_sqlite
def test_malformed_arguments_are_refused(booted: Settings):
    for command in ("admins add", "admins remove", "jobs show", "jobs retry", "jobs drop",
                    "jobs pause", "jobs resume", "jobs quiet", "versions recreate"):  # fmt: skip
        result = CliRunner().invoke(cli, [*command.split(), "caf\udce9"])

        assert result.exit_code == 2, command
        assert "has control characters, or bytes that are not UTF-8" in result.output


def test_malformed_urls_are_refused():
    for url in ("http://a\0b/", "http://a.b/\ud800", "http://[::1"):
        with pytest.raises(RemoteUrlInvalid):
            fetch(ImageUploader, url)
    with pytest.raises(DataUriInvalid):
        cache_upload(ImageUploader, "data:,\ud800")


#: By HTTP.
WEB: dict[str, str] = {}

HTTP = {
    "a NUL in JSON": ("PATCH", {"content": b'{"title": "a\\u0000"}'}, 400, "text_malformed"),
    "a NUL as a name": ("PATCH", {"content": b'{"\\u0000": 1}'}, 400, "text_malformed"),
    "a surrogate": ("PATCH", {"content": b'{"tags": ["\\ud800"]}'}, 400, "text_malformed"),
    "a pair": ("PATCH", {"content": b'{"title": "\\ud83d\\ude00"}'}, 404, "gif_not_found"),
    "surrogate bytes": ("PATCH", {"content": b'{"title": "\xed\xa0\x80"}'}, 400, "json_malformed"),
    "UTF-16": ("PATCH", {"content": '{"title": "a"}'.encode("utf-16")}, 400, "json_malformed"),
    "a BOM": ("PATCH", {"content": b'\xef\xbb\xbf{"title": "a"}'}, 404, "gif_not_found"),
    "NaN": ("PATCH", {"content": b'{"title": NaN}'}, 400, "json_malformed"),
    "5,000 digits": ("PATCH", {"content": b'{"title": %s}' % (b"9" * 5000)}, 400, "json_malformed"),
    "10,000 levels": ("PATCH", {"content": b'{"title": ' + b"[" * 10_000}, 400, "json_malformed"),
    "1e400": ("PATCH", {"content": b'{"title": 1e400}'}, 422, "title_invalid"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "options", "status", "code"), HTTP.values(), ids=HTTP)
def test_malformed_json_is_refused(web: Stack, method: str, options: dict, status: int, code: str):
    answer = web.client.request(
        method, "/api/gifs/nope", headers={"Content-Type": "application/json"}, **options
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code)


PLACES = {
    "a query": ("GET", "/api/gifs?q=a%00", {}, 400, "text_malformed"),
    "the name of a query": ("GET", "/api/gifs?%00=a", {}, 400, "text_malformed"),
    "a path": ("GET", "/api/gifs/a%00", {}, 404, "not_found"),
    "a form": ("POST", "/login", {"data": {"email": "a\0"}}, 400, "text_malformed"),
    "a part": ("POST", "/api/gifs", {"files": {"image": b"a"}, "data": {"title": "\0"}}, 400,
               "text_malformed"),
    "a long query": ("GET", f"/api/gifs?q={'a' * 5_000}", {}, 400, "q_too_long"),
    "a long URL": ("POST", "/api/gifs", {"json": {"remote_image_url": "http://a.b/" + "a" * 8_000}},
                   422, "remote_url_invalid"),
    "no origin": ("POST", "/logout", {"headers": {"Origin": "http://[::1"}}, 403, "cross_site"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "options", "status", "code"), PLACES.values(),
                         ids=PLACES)  # fmt: skip
def test_malformed_texts_are_refused_everywhere(
    web: Stack, method: str, path: str, options: dict, status: int, code: str
):
    answer = web.client.request(method, path, **options)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
