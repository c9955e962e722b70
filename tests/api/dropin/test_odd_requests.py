"""Whatever a client sends, it gets an answer in the shape that it reads, and never a 500."""

import base64
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as some

from gifster.api.dropin import positions, tenor
from gifster.api.dropin.asked import MOST_OFFSET, Asked
from gifster.api.problems import Problem
from gifster.app.search.finding import read_cursor, write_cursor
from gifster.app.search.walking import KNOWN, Place
from tests.api.dropin.conftest import Library
from tests.machine import examples

NAMES = (
    "q", "key", "client_key", "searchfilter", "contentfilter", "media_filter", "ar_range", "random",
    "limit", "pos", "locale", "country", "type", "ids", "id", "tag", "component", "api_key",
    "offset", "rating", "lang", "random_id", "bundle", "fields", "sort", "s", "weirdness", "gif_id",
    "m",
)  # fmt: skip
WORDS = (
    "", " ", "cat", "undefined", "null", "NaN", "-1", "0", "1e9", "9" * 400, "sticker,-static",
    "sticker,static", "gif,tinygif,nonsense", "minimal", "true", "high", "pg-13", "wide", "en_US",
    "[]", "{}", "W10=", "%", "é̂ß", "🙂", "\u202e",
    "' OR 1=1 --", "*", '"cat', "a" * 3000, ",,,", "\\",
    "recent", "trending", "cat AND NOT (dog", "^cat", "-cat", "NEAR(a b)", "title:cat",
)  # fmt: skip
PATHS = (
    *(f"/v2/{name}" for name in tenor.ANSWERS),
    *(f"/proxy/klipy/api/v2/{name}" for name in ("search", "featured")),
    *(f"/v1/{kind}/{name}" for kind in ("gifs", "stickers")
      for name in ("search", "trending", "related", "translate", "random")),
    "/v1/gifs", "/v1/gifs/categories", "/v1/gifs/categories/c%C3%A4t",
    "/v1/gifs/categories/a/b%20c", "/v1/gifs/search/tags", "/v1/tags/related/%F0%9F%99%82",
    "/v1/trending/searches", "/v1/randomid",
    "/v1/channels/search", "/v2/emoji", "/v1/analytics", "/v1/gifs/screensaver",
)  # fmt: skip

parameters = some.lists(
    some.tuples(
        some.sampled_from(NAMES),
        some.one_of(some.sampled_from(WORDS), some.text(max_size=30)),
    ),
    max_size=8,
)


@hypothesis.settings(max_examples=examples(40, of=1_500), deadline=None, derandomize=True,
                     database=None)  # fmt: skip
@hypothesis.given(path=some.sampled_from(PATHS), sent=parameters)
def test_any_query_gets_an_answer_in_its_shape(
    gifs: Library, path: str, sent: list[tuple[str, str]]
):
    readable = [(name, value.encode(errors="replace").decode()) for name, value in sent]
    answer = gifs.ask(path, params=readable)

    assert answer.status_code in (200, 400), (path, sent, answer.text)
    body = answer.json()
    if path.startswith("/v1") or path == "/v2/emoji":
        assert body["meta"]["status"] == answer.status_code
        assert body["meta"]["response_id"]
        assert "data" in body
    elif answer.status_code == 400:
        assert isinstance(body["error"]["details"], list)
    elif not path.endswith("registershare"):
        assert isinstance(body["tags" if path.endswith("categories") else "results"], list)


@pytest.fixture(scope="module", autouse=True)
def _cats(gifs: Library) -> None:
    for number in range(3):
        gifs.add(f"A cat {number}", "cat funny")


#: As they may be in a cursor.
NUMBERS = some.integers(0, 10**18 - 1)


@hypothesis.settings(max_examples=examples(60, of=2_500), deadline=None, derandomize=True,
                     database=None)  # fmt: skip
@hypothesis.given(
    place=some.builds(
        Place,
        words=some.sampled_from(["all", "any"]),
        top=NUMBERS,
        ranked=some.integers(0, 99_999),
        below=NUMBERS,
        shelves=some.integers(0, 3),
        last=some.lists(NUMBERS, max_size=KNOWN).map(tuple),
    ),
    values=some.dictionaries(some.sampled_from(NAMES), some.text(max_size=40)),
)
def test_a_position_says_what_was_written(place: Place, values: dict[str, str]):
    written = positions.write(write_cursor(place), values)
    start, read = positions.read(Asked({"pos": written}))

    assert read_cursor(start.cursor) == place
    kept = {name: read.raw(name) for name in positions.REPEATED}
    sent = {name: values.get(name, "") for name in positions.REPEATED}
    if all(is_utf8(value) for value in sent.values()):
        assert kept == {name: value.strip() for name, value in sent.items()}


def is_utf8(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text


@pytest.mark.parametrize("text", [b'[20,{"q":"cat"}]', b'[20,77,{"q":"cat"}]'])
def test_a_position_of_an_earlier_release_goes_on(text: bytes):
    written = base64.urlsafe_b64encode(text).decode().rstrip("=")
    start, asked = positions.read(Asked({"pos": written}))
    assert (start, asked.raw("q")) == (positions.Start(20), "cat")


@hypothesis.settings(max_examples=examples(100, of=5_000), deadline=None, derandomize=True,
                     database=None)  # fmt: skip
@hypothesis.given(pos=some.one_of(some.text(), some.binary().map(lambda b: b.hex())))
def test_any_other_position_is_refused_or_read(pos: str):
    with suppress(Problem):
        start, _ = positions.read(Asked({"pos": pos}))
        assert 0 <= start.offset <= MOST_OFFSET


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"[" * 50_000, b'{"events": 3}', b'{"events": [3, null, {}]}',
     b'{"events": [{"action_type": {"a": 1}, "gif_id": []}]}', b'{"action_type": "CLICK"}',
     b"\xff\xfe"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v2/pingback", "/v1/gifs/search/actions"])
def test_events_that_cannot_be_read_are_ignored(gifs: Library, path: str, body: bytes):
    assert gifs.ask(path, "POST", content=body).status_code == 200


def test_the_longest_search_has_a_next_page(gifs: Library):
    # Given two GIFs with the longest title
    added = {gifs.add("漢" * 200) for _ in range(2)}

    # When a client searches for more than a search may have
    sent: dict[str, Any] = {"q": "漢" * 600, "limit": 1, "locale": "de_CH"}
    first = gifs.get("/v2/search", **sent)
    second = gifs.get("/v2/search", pos=first["next"])

    # I expect its beginning to be searched for, on both pages
    assert {page["results"][0]["id"] for page in (first, second)} == added
