"""Tenor v2 as its clients read it: the strictest of them decides about a field."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import BaseModel, ConfigDict, HttpUrl, StrictBool, StrictInt, StrictStr

from gifster.api.dropin.found import at_random
from gifster.app import search
from gifster.app.database import db
from gifster.app.models import Gif
from gifster.app.search import Found
from gifster.uploads import StoredFile
from tests.api.dropin.conftest import Library, as_png, sticker, still


class Strict(BaseModel):
    """No field is missing, none is unknown, and none is of nearly the right type."""

    model_config = ConfigDict(extra="forbid")


class Media(Strict):
    """Commet reads `dims` and `size` with `as int`, Zulip parses the URL."""

    url: HttpUrl
    dims: tuple[StrictInt, StrictInt]
    duration: float
    size: StrictInt
    preview: Literal[""]


class Result(Strict):
    """Stoat's types (`types.rs`): everything is there but the last three."""

    id: StrictStr
    title: StrictStr
    media_formats: dict[str, Media]
    created: float
    content_description: StrictStr
    content_description_source: StrictStr
    itemurl: HttpUrl
    url: HttpUrl
    tags: list[StrictStr]
    flags: list[StrictStr]
    hasaudio: StrictBool
    hascaption: StrictBool | None = None
    bg_color: StrictStr | None = None


class Page(Strict):
    """Zulip and Stoat want a text for `next`, never null."""

    locale: StrictStr | None = None
    results: list[Result]
    next: StrictStr


class Category(Strict):
    searchterm: StrictStr
    path: HttpUrl
    image: HttpUrl
    name: StrictStr


class Categories(Strict):
    locale: StrictStr
    tags: list[Category]


class Terms(Strict):
    locale: StrictStr
    results: list[StrictStr]


@pytest.fixture(scope="module")
def cat(gifs: Library) -> str:
    return gifs.add("A cat", "cat funny", alt_text="A cat falls off a chair")


def ids(page: Any) -> list[str]:
    return [result["id"] for result in page["results"]]


def test_a_search_answers_what_the_strictest_clients_read(gifs: Library, cat: str):
    page = Page.model_validate(gifs.get("/v2/search", q="cat", key="any"))

    (found,) = page.results
    assert (found.id, found.title, found.tags) == (cat, "A cat", ["cat", "funny"])
    assert found.content_description == "A cat falls off a chair"
    # Two clients for phones add `.gif` to it, and show that.
    assert found.itemurl == HttpUrl(f"https://gifs.example.org/g/{cat}")
    assert page.next == ""


def test_each_format_is_the_nearest_file_with_its_true_size(gifs: Library, cat: str):
    formats = gifs.get("/v2/posts", ids=cat)["results"][0]["media_formats"]

    def named(name: str) -> tuple[str, list[int], int]:
        media = formats[name]
        return media["url"].rpartition("/")[2].partition(".")[0], media["dims"], media["size"]

    assert named("gif") == (cat, [600, 400], 2_500_000)
    assert named("mediumgif") == ("preview", [480, 320], 300_000)
    assert named("tinygif") == ("tinygif", [220, 147], 80_000)
    assert named("nanogif") == ("nanogif", [135, 90], 30_000)
    assert named("mp4") == named("loopedmp4") == ("mp4", [480, 320], 60_000)
    # Gifster makes no file of these names.
    assert named("nanomp4") == named("tinymp4") == ("tinymp4", [320, 214], 30_000)
    assert named("tinywebm") == named("nanowebm") == named("webm") == ("webm", [480, 320], 50_000)
    assert named("preview") == named("gifpreview") == ("poster", [480, 320], 9_000)
    assert named("tinygifpreview")[0] == "tinyposter"
    assert named("nanogifpreview")[0] == "nanoposter"
    assert formats["mp4"]["duration"] == 1.25
    assert formats["preview"]["duration"] == 0


def test_only_the_named_formats_are_sent(gifs: Library, cat: str):
    def formats(names: str) -> set[str]:
        page = gifs.get("/v2/search", q="cat", media_filter=names)
        return set(page["results"][0]["media_formats"])

    assert formats("tinygif, GIF") == {"tinygif", "gif"}
    assert formats("minimal") == {"gif", "tinygif", "mp4"}
    assert formats("gif_transparent,tinywebm") == {"gif_transparent", "tinywebm"}
    assert formats("undefined") == formats("") == formats("a,b")


def test_a_named_format_is_there_even_if_there_is_no_such_file(gifs: Library):
    # Given a GIF of an old release, with few versions
    few = {"thumb": ("image/gif", 90_000, 220, 147)}
    gifs.add("ancient", change=lambda image: type(image)(**{**vars(image), "versions": {
        name: image.versions[name] for name in few}}))  # fmt: skip

    # When a client names formats of other types
    names = "webm,tinywebm,webp,preview"
    (found,) = gifs.get("/v2/search", q="ancient", media_filter=names)["results"]

    # I expect each of them, so that the client keeps the page
    assert set(found["media_formats"]) == set(names.split(","))
    assert all(media["size"] > 0 for media in found["media_formats"].values())
    # When no format is named, I expect those that there are
    (found,) = gifs.get("/v2/search", q="ancient")["results"]
    assert {"gif", "tinygif"} <= set(found["media_formats"])
    assert "webm" not in found["media_formats"]


def test_a_still_that_is_no_gif_is_not_found(gifs: Library):
    gif_id = gifs.add("stillness", change=as_png)

    assert ids(gifs.get("/v2/search", q="stillness")) == []
    assert ids(gifs.get("/v2/posts", ids=gif_id)) == []


def test_stills_take_no_place_of_stickers(gifs: Library):
    # Given a sticker that moves, one that is a still GIF, and newer ones that are PNG
    moving = gifs.add("stuck", change=sticker)
    at_rest = gifs.add("stuck", change=lambda image: still(sticker(image)))
    for _ in range(2):
        gifs.add("stuck", change=lambda image: as_png(sticker(image)))

    # When a client asks for the first page, I expect it to have what can be shown
    def found(words: str) -> Any:
        return gifs.get("/v2/search", q="stuck", searchfilter=words, limit=2)

    assert ids(found("sticker")) == ids(found("sticker,-static")) == [moving]
    assert found("sticker")["next"] == ""
    assert found("sticker")["results"][0]["flags"] == ["sticker"]
    assert ids(found("sticker,static")) == [at_rest]
    assert found("sticker,static")["next"] == ""
    # And the next page to go on behind it
    older = [gifs.add("stacked", change=lambda image: still(sticker(image))) for _ in range(3)]
    for _ in range(4):
        gifs.add("stacked", change=lambda image: as_png(sticker(image)))
    wanted: dict[str, Any] = {"q": "stacked", "searchfilter": "sticker,static", "limit": 2}
    first = gifs.get("/v2/search", **wanted)
    second = gifs.get("/v2/search", pos=first["next"])
    assert [*ids(first), *ids(second)] == older[::-1]
    assert second["next"] == ""
    assert len(ids(gifs.get("/v2/featured", searchfilter="sticker,static", limit=3))) == 3
    assert gifs.get(f"/v1/gifs/{moving}")["data"]["is_sticker"] == 1


def test_a_gif_that_comes_while_a_page_is_filled_moves_no_other(
    gifs: Library, monkeypatch: pytest.MonkeyPatch
):
    # Given two static stickers, one that cannot be shown, and one more that comes after the first
    # look
    def at_rest(image: StoredFile) -> StoredFile:
        return still(sticker(image))

    older = [gifs.add("moved", change=at_rest) for _ in range(2)]
    gifs.add("moved", change=lambda image: as_png(sticker(image)))
    find = search.find

    def slow(*words: Any, cursor: str, **options: Any) -> Found:
        found = find(*words, cursor=cursor, **options)
        if not cursor:
            with ThreadPoolExecutor(1) as other:
                other.submit(gifs.add, "moved", change=at_rest).result(60)
        return found

    monkeypatch.setattr(search, "find", slow)

    # When a client asks for the first page, I expect each of those that were there once
    found = gifs.get("/v2/search", q="moved", searchfilter="sticker,static", limit=2)
    assert ids(found) == older[::-1]


def test_a_gif_that_is_not_ready_is_not_found(gifs: Library):
    gif_id = gifs.add("unready", change=lambda _: None, image_state="queued")
    other = gifs.add("unready", image_state="processing")

    assert ids(gifs.get("/v2/search", q="unready")) == []
    assert ids(gifs.get("/v2/posts", ids=f"{gif_id},{other}")) == []


def test_content_filters_are_ratings(gifs: Library):
    rated = {rating: gifs.add("rated", rating=rating) for rating in ("g", "pg", "pg-13", "r")}

    def ratings(level: str) -> set[str]:
        found = ids(gifs.get("/v2/search", q="rated", contentfilter=level))
        return {rating for rating, gif_id in rated.items() if gif_id in found}

    assert ratings("high") == {"g"}
    assert ratings("MEDIUM") == {"g", "pg"}
    assert ratings("low") == {"g", "pg", "pg-13"}
    assert ratings("off") == ratings("") == ratings("nonsense") == set(rated)


def test_a_rating_of_a_later_release_is_for_adults(gifs: Library):
    gif_id = gifs.add("later")
    with db.connection_context():
        db.execute_sql("UPDATE gif SET rating = 'nc-17' WHERE id = ?", (gif_id,))
        search.put(Gif.get_by_id(gif_id), [])

    assert ids(gifs.get("/v2/search", q="later")) == [gif_id]
    assert ids(gifs.get("/v2/search", q="later", contentfilter="low")) == []
    assert gifs.get("/v1/gifs/search", q="later", rating="g")["data"] == []
    assert gifs.ask(f"/v1/gifs/{gif_id}", params={"rating": "pg-13"}).status_code == 404
    assert gifs.get(f"/v1/gifs/{gif_id}")["data"]["rating"] == "r"
    assert gifs.get(f"/api/gifs/{gif_id}")["rating"] == "r"  # as /openapi.json says


def test_pages_follow_each_other(gifs: Library):
    added = [gifs.add(f"paged {number}") for number in range(5)]

    # When a client asks for the next page by `pos` alone, as tenor-gif-api does
    first = gifs.get("/v2/search", q="paged", limit=2, media_filter="tinygif", contentfilter="off")
    gifs.add("paged meanwhile")
    second = gifs.get("/v2/search", pos=first["next"])
    third = gifs.get("/v2/search", pos=second["next"])

    # I expect the same search, formats and length, and nothing twice that has moved on meanwhile
    found = [ids(page) for page in (first, second, third)]
    assert [len(page) for page in found] == [2, 2, 1]
    assert sorted(gif_id for page in found for gif_id in page) == sorted(added)
    assert set(second["results"][0]["media_formats"]) == {"tinygif"}
    assert third["next"] == ""


def test_a_gif_that_is_deleted_between_two_pages_moves_no_other(gifs: Library):
    added = [gifs.add(f"gone {number}") for number in range(6)]
    for path, sent in (("/v2/search", {"q": "gone"}), ("/v2/featured", {})):
        # Given a page, and one of its GIFs that is deleted after it
        first = gifs.get(path, limit=2, **sent)
        with db.connection_context():
            search.remove(ids(first)[0])

        # I expect the next page to begin with the one that comes next, and none to come twice
        second = gifs.get(path, pos=first["next"])
        whole = gifs.get(path, limit=50, **sent)
        assert ids(whole)[:3] == [ids(first)[1], *ids(second)]
    assert added[0] in ids(whole)


@pytest.mark.parametrize("pos", ["", "0"])
def test_clients_send_odd_positions_for_the_first_page(gifs: Library, cat: str, pos: str):
    # Stoat sends an empty one, Discourse a zero.
    assert cat in ids(gifs.get("/v2/search", q="cat", pos=pos))
    assert cat in ids(gifs.get("/v2/featured", pos=pos, limit=50))


@pytest.mark.parametrize("pos", ["-1", "99999999", "abc", "W10", "é", "A" * 5000, "WzEsMl0", "e30"])
def test_a_malformed_position_is_refused(gifs: Library, pos: str):
    answer = gifs.ask("/v2/search", params={"q": "cat", "pos": pos})

    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["reason"] == "POS_INVALID"


def test_featured_ignores_a_search(gifs: Library, cat: str):
    page = Page.model_validate(gifs.get("/v2/featured", q="excited", limit=50))

    assert cat in [result.id for result in page.results]
    assert page.locale == "en_US"


def test_posts_come_in_the_order_of_their_ids(gifs: Library, cat: str):
    dog = gifs.add("A dog")

    found = gifs.get("/v2/posts", ids=f" {dog},nonsense,{cat},{dog},")

    assert ids(found) == ids(gifs.get("/v2/gifs", ids=f"{dog},{cat}")) == [dog, cat]


def test_the_shape_of_a_picture_is_a_filter(gifs: Library):
    tall = gifs.add("shape", change=lambda image: type(image)(**{**vars(image), "height": 2000}))
    usual = gifs.add("shape")

    assert set(ids(gifs.get("/v2/search", q="shape", ar_range="all"))) == {tall, usual}
    # The rest is the search's own matter (tests/app/search).


def test_a_random_search_finds_the_same_in_any_order(gifs: Library):
    added = {gifs.add("random") for _ in range(3)}

    page = Page.model_validate(gifs.get("/v2/search", q="random", random="true"))

    assert {result.id for result in page.results} == added


def test_one_at_random_is_found_where_the_number_of_all_is_estimated():
    # Given a search that finds two GIFs, and takes them for a thousand
    gifs = [Gif(id="a"), Gif(id="b")]

    def find(limit: int, /, *, offset: int = 0, cursor: str = "") -> Found:
        return Found(gifs[offset : offset + limit], 1_000)

    assert all(at_random(find) for _ in range(20))


def test_categories_lead_to_searches_with_the_callers_parameters(gifs: Library, cat: str):
    sent = {"key": "some key", "type": "featured", "contentfilter": "high", "locale": "de_CH"}

    found = Categories.model_validate(gifs.get("/v2/categories", **sent))

    assert found.locale == "de_CH"
    category = next(tag for tag in found.tags if tag.searchterm == "funny")
    assert category.name == "#funny"
    path = urlsplit(str(category.path))
    assert (path.netloc, path.path) == ("gifs.example.org", "/v2/search")
    repeated = {"key": ["some key"], "contentfilter": ["high"], "locale": ["de_CH"]}
    assert parse_qs(path.query) == {"q": ["funny"], **repeated}
    assert cat in ids(gifs.get(path.path, **parse_qs(path.query)))


def test_the_picture_of_a_category_can_be_shown_to_whoever_asks(gifs: Library):
    # Given a tag whose newest GIF is for adults, and one whose newest is a still
    for_all = gifs.add("Mild", "mild")
    gifs.add("Wild", "mild", rating="r")
    gifs.add("Mild still", "mild", change=as_png)

    def picture(**asked: str) -> str:
        tags = gifs.get("/v2/categories", **asked)["tags"]
        return next(tag["image"] for tag in tags if tag["searchterm"] == "mild")

    # When clients ask for what suits everybody, I expect it to be shown with a GIF that does
    assert for_all in picture(contentfilter="high")
    assert for_all not in picture()
    of_giphy = gifs.get("/v1/gifs/categories", rating="g", limit=100)["data"]
    assert [each["gif"]["id"] for each in of_giphy if each["name"] == "mild"] == [for_all]


def test_trending_categories_are_what_people_search_for(gifs: Library, cat: str):
    Categories.model_validate(gifs.get("/v2/categories", type="trending"))


def test_terms_are_lists_of_words(gifs: Library, cat: str):
    assert "funny" in Terms.model_validate(gifs.get("/v2/autocomplete", q="fu")).results
    assert "funny" in Terms.model_validate(gifs.get("/v2/search_suggestions", q="cat")).results
    Terms.model_validate(gifs.get("/v2/trending_terms", limit=3))
    assert gifs.get("/v2/autocomplete")["results"] == []


def test_a_search_needs_words(gifs: Library):
    answer = gifs.ask("/v2/search", params={"q": " "})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["reason"] == "Q_MISSING"


def test_unknown_parameters_and_values_are_ignored(gifs: Library, cat: str):
    odd = {"limit": "many", "ar_range": "round", "random": "undefined", "country": "??",
           "component": "categories", "anon_id": "", "excludeDynamicResults": "undefined",
           "locale": "no such\tlanguage"}  # fmt: skip
    assert cat in ids(gifs.get("/v2/search", q="cat", **odd))


def test_limits_are_bounded(gifs: Library):
    for number in range(51):
        gifs.add(f"many {number}")

    assert len(gifs.get("/v2/search", q="many", limit=500)["results"]) == 50
    assert len(gifs.get("/v2/search", q="many", limit=0)["results"]) == 20


def test_a_share_is_accepted(gifs: Library, cat: str):
    assert gifs.get("/v2/registershare", id=cat, q="cat") == {"status": "ok"}
    assert gifs.get("/v2/registershare", id="nonsense") == {"status": "ok"}


@pytest.mark.parametrize("proxy", ["tenor", "klipy"])
def test_commet_finds_and_fetches_gifs_through_its_proxy(gifs: Library, cat: str, proxy: str):
    # Given a search of Commet's, a Matrix client, which sends no more than this
    page = gifs.get(f"/proxy/{proxy}/api/v2/search", q="cat")
    Page.model_validate(page)

    # When it asks for a file: by the path of its URL, below another path
    formats = next(result for result in page["results"] if result["id"] == cat)["media_formats"]
    path = urlsplit(formats["webp"]["url"]).path
    answer = gifs.ask(f"/proxy/{proxy}/media{path}")

    # I expect a redirect to the file
    assert answer.status_code == 302
    assert answer.headers["Location"].endswith("/webp")
    # It reads this without a check.
    assert formats["webp"]["size"] == 120_000
