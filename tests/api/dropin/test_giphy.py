"""GIPHY v1 as its clients read it: the strictest of them, giphpy, decides about a field."""

from datetime import datetime
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, StrictInt, StrictStr, field_validator

from tests.api.dropin.conftest import Library

#: A number as GIPHY writes it.
Number = Field(pattern="^[0-9]+$")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Size(Strict):
    width: StrictStr = Number
    height: StrictStr = Number


class Url(Size):
    url: HttpUrl
    size: StrictStr = Number


class Mp4(Size):
    mp4: HttpUrl
    mp4_size: StrictStr = Number


class UrlWebp(Url):
    webp: HttpUrl
    webp_size: StrictStr = Number


class All(UrlWebp):
    mp4: HttpUrl
    mp4_size: StrictStr = Number


class Original(All):
    frames: StrictStr = Number
    hash: StrictStr


class Images(Strict):
    original: Original
    original_still: Url
    original_mp4: Mp4
    fixed_height: All
    fixed_height_still: Url
    fixed_height_downsampled: UrlWebp
    fixed_height_small: All
    fixed_height_small_still: Url
    fixed_width: All
    fixed_width_still: Url
    fixed_width_downsampled: UrlWebp
    fixed_width_small: All
    fixed_width_small_still: Url
    downsized: Url
    downsized_still: Url
    downsized_medium: Url
    downsized_large: Url
    downsized_small: Mp4
    preview: Mp4
    preview_gif: Url
    preview_webp: Url
    looping: Mp4
    w480_still: Url = Field(alias="480w_still")


class Counted(Strict):
    url: HttpUrl


class Analytics(Strict):
    onload: Counted
    onclick: Counted
    onsent: Counted


class Gif(Strict):
    type: Literal["gif"]
    id: StrictStr
    slug: StrictStr
    url: HttpUrl
    bitly_url: StrictStr
    bitly_gif_url: StrictStr
    embed_url: HttpUrl
    username: StrictStr
    source: StrictStr
    title: StrictStr
    alt_text: StrictStr
    rating: Literal["g", "pg", "pg-13", "r"]
    content_url: StrictStr
    source_tld: StrictStr
    source_post_url: StrictStr
    is_sticker: Literal[0, 1]
    is_low_contrast: bool
    import_datetime: datetime
    trending_datetime: None
    tags: list[StrictStr]
    images: Images
    analytics_response_payload: StrictStr
    analytics: Analytics

    @field_validator("trending_datetime", mode="before")
    @classmethod
    def _never(cls, value: object) -> object:
        return None if value == "0000-00-00 00:00:00" else value


class RandomGif(Gif):
    """With the fields of the model of an Android app, which needs them all."""

    image_original_url: HttpUrl
    image_url: HttpUrl
    image_mp4_url: HttpUrl
    image_frames: StrictStr = Number
    image_width: StrictStr = Number
    image_height: StrictStr = Number
    fixed_height_downsampled_url: HttpUrl
    fixed_height_downsampled_width: StrictStr = Number
    fixed_height_downsampled_height: StrictStr = Number
    fixed_width_downsampled_url: HttpUrl
    fixed_width_downsampled_width: StrictStr = Number
    fixed_width_downsampled_height: StrictStr = Number
    fixed_height_small_url: HttpUrl
    fixed_height_small_still_url: HttpUrl
    fixed_height_small_width: StrictStr = Number
    fixed_height_small_height: StrictStr = Number
    fixed_width_small_url: HttpUrl
    fixed_width_small_still_url: HttpUrl
    fixed_width_small_width: StrictStr = Number
    fixed_width_small_height: StrictStr = Number
    caption: StrictStr


class Meta(Strict):
    status: Literal[200]
    msg: Literal["OK"]
    response_id: StrictStr = Field(min_length=1)


class Pagination(Strict):
    total_count: StrictInt
    count: StrictInt
    offset: StrictInt


class One(Strict):
    data: Gif
    meta: Meta


class OneRandom(Strict):
    data: RandomGif
    meta: Meta


class Page(Strict):
    data: list[Gif]
    pagination: Pagination
    meta: Meta


class Term(Strict):
    name: StrictStr
    analytics_response_payload: StrictStr


class Terms(Strict):
    data: list[Term]
    pagination: Pagination
    meta: Meta


class Named(Strict):
    name: StrictStr
    name_encoded: StrictStr


class Category(Named):
    subcategories: list[Named]
    gif: Gif


class Categories(Strict):
    data: list[Category]
    pagination: Pagination
    meta: Meta


@pytest.fixture(scope="module")
def cat(gifs: Library) -> str:
    return gifs.add("A cat", "cat funny", alt_text="A cat falls off a chair")


def ids(page: Any) -> list[str]:
    return [gif["id"] for gif in page["data"]]


def test_a_search_answers_what_the_strictest_client_reads(gifs: Library, cat: str):
    page = Page.model_validate(gifs.get("/v1/gifs/search", q="chair", api_key="any"))

    (found,) = page.data
    assert (found.id, found.slug, found.title) == (cat, f"a-cat-{cat}", "A cat")
    # Jitsi takes the id from the end of the address.
    assert str(found.embed_url) == f"https://gifs.example.org/embed/{cat}"
    assert page.pagination == Pagination(total_count=1, count=1, offset=0)


def test_each_rendition_is_the_nearest_file_with_its_true_size(gifs: Library, cat: str):
    images = gifs.get(f"/v1/gifs/{cat}")["data"]["images"]

    def named(rendition: str, key: str = "url") -> tuple[str, str, str, str]:
        image = images[rendition]
        size = image["size" if key == "url" else f"{key}_size"]
        name = image[key].rpartition("/")[2].partition(".")[0]
        return name, image["width"], image["height"], size

    # 480 pixels are what a chat shows; the original of 2.5 MB is the largest one.
    assert named("original") == ("preview", "480", "320", "300000")
    assert named("original", "webp")[0] == "webp"
    assert named("original", "mp4")[0] == "mp4"
    assert named("downsized_large") == (cat, "600", "400", "2500000")
    assert named("downsized") == ("preview", "480", "320", "300000")
    assert named("fixed_width") == ("tinygif", "220", "147", "80000")
    assert named("fixed_height_small") == ("nanogif", "135", "90", "30000")
    assert named("preview", "mp4") == ("tinymp4", "320", "214", "30000")
    assert named("480w_still")[0] == "poster"
    assert named("fixed_width_still")[0] == "tinyposter"


def test_pages_are_counted(gifs: Library):
    added = [gifs.add(f"paged {number}") for number in range(5)]

    pages = [
        Page.model_validate(gifs.get("/v1/gifs/search", q="paged", limit=2, offset=offset))
        for offset in (0, 2, 4, 6)
    ]

    assert [page.pagination.count for page in pages] == [2, 2, 1, 0]
    assert [page.pagination.offset for page in pages] == [0, 2, 4, 6]
    assert {page.pagination.total_count for page in pages} == {5}
    assert sorted(gif.id for page in pages for gif in page.data) == sorted(added)


def test_nobody_gets_beyond_the_last_page_that_there_can_be(gifs: Library, cat: str):
    assert gifs.get("/v1/gifs/search", q="cat", offset=10**30)["data"] == []
    assert gifs.get("/v1/gifs/trending", offset=5_000)["data"] == []
    assert len(gifs.get("/v1/gifs/trending", offset=-1, limit="undefined")["data"]) > 0


def test_ratings_allow_what_is_milder(gifs: Library):
    rated = {rating: gifs.add("rated", rating=rating) for rating in ("g", "pg", "pg-13", "r")}

    def ratings(level: str) -> set[str]:
        found = ids(gifs.get("/v1/gifs/search", q="rated", rating=level))
        return {rating for rating, gif_id in rated.items() if gif_id in found}

    assert ratings("y") == ratings("G") == {"g"}
    assert ratings("pg-13") == {"g", "pg", "pg-13"}
    assert ratings("r") == ratings("") == ratings("x") == set(rated)
    assert gifs.ask(f"/v1/gifs/{rated['r']}", params={"rating": "g"}).status_code == 404


def test_gifs_by_their_ids(gifs: Library, cat: str):
    dog = gifs.add("A dog")

    assert One.model_validate(gifs.get(f"/v1/gifs/{cat}")).data.id == cat
    page = Page.model_validate(gifs.get("/v1/gifs", ids=f"{dog}, nonsense,{cat}"))
    assert [gif.id for gif in page.data] == [dog, cat]
    for unknown in ("nonsense", "123456789ABC"):
        answer = gifs.ask(f"/v1/gifs/{unknown}")
        assert answer.status_code == 404
        assert answer.json()["meta"]["status"] == 404
        assert answer.json()["meta"]["response_id"]


def test_a_gif_that_is_not_ready_has_no_data_yet(gifs: Library):
    # giphypop asks for a GIF as soon as it has uploaded it.
    gif_id = gifs.add("unready", change=lambda _: None, image_state="queued")

    assert gifs.get(f"/v1/gifs/{gif_id}")["data"] == []
    assert gifs.get("/v1/gifs", ids=gif_id)["data"] == []


@pytest.mark.parametrize("kind", ["gifs", "stickers"])
def test_lists_of_gifs(gifs: Library, cat: str, kind: str):
    for path in ("trending", "search?q=cat", f"related?gif_id={cat}"):
        Page.model_validate(gifs.ask(f"/v1/{kind}/{path}").json())


def test_related_gifs_share_a_tag(gifs: Library, cat: str):
    other = gifs.add("Another cat", "cat")

    assert ids(gifs.get("/v1/gifs/related", gif_id=cat))[0] == other
    assert ids(gifs.get("/v1/gifs/related", gif_id="nonsense")) == []


def test_one_gif_for_a_text(gifs: Library, cat: str):
    weird = One.model_validate(gifs.get("/v1/gifs/translate", s="cat", weirdness=10))
    assert weird.data.id in ids(gifs.get("/v1/gifs/search", q="cat"))
    for tag in ("cat", ""):
        one = OneRandom.model_validate(gifs.get("/v1/gifs/random", tag=tag)).data
        assert one.title
        # What bots read that were written before a random GIF had `images`.
        assert one.image_original_url == one.images.original.url
    assert gifs.get("/v1/gifs/screensaver", tag="cat")["data"]["id"]
    # Mattermost handles both an object and an empty list.
    for path in ("translate?s=unknownword", "translate", "random?tag=unknownword"):
        assert gifs.ask(f"/v1/gifs/{path}").json()["data"] == []


def test_categories_have_pictures(gifs: Library, cat: str):
    found = Categories.model_validate(gifs.get("/v1/gifs/categories", limit=100))
    assert {"cat", "funny"} <= {category.name for category in found.data}

    below = Categories.model_validate(gifs.get("/v1/gifs/categories/cat"))
    assert [category.name for category in below.data] == ["funny"]
    assert ids(gifs.get("/v1/gifs/categories/cat/funny")) == [cat]


def test_words_are_completed_and_related(gifs: Library, cat: str):
    found = Terms.model_validate(gifs.get("/v1/gifs/search/tags", q="fu"))
    assert [term.name for term in found.data] == ["funny"]
    related = Terms.model_validate(gifs.get("/v1/tags/related/cat"))
    assert [term.name for term in related.data] == ["funny"]
    assert gifs.get("/v1/trending/searches")["meta"]["status"] == 200
    assert isinstance(gifs.get("/v1/trending/searches")["data"], list)


def test_an_id_for_a_user(gifs: Library):
    one, other = (gifs.get("/v1/randomid")["data"]["random_id"] for _ in range(2))
    assert one != other


@pytest.mark.parametrize(
    "path",
    ["/v1/channels/search", "/v1/emoji", "/v2/emoji", "/v2/emoji/x/variations", "/v1/text/animate",
     "/v1/text/search", "/v1/videos/search", "/v1/clips/trending"],
)  # fmt: skip
def test_what_gifster_does_not_have_is_an_empty_list(gifs: Library, path: str):
    Page.model_validate(gifs.get(path, m="hello", q="hello"))


def test_what_people_take_is_counted(gifs: Library, cat: str):
    gif = gifs.get(f"/v1/gifs/{cat}")["data"]
    for action in gif["analytics"].values():
        # The client appends its parameters.
        answer = gifs.ask(f"{action['url']}&random_id=x&ts=1")
        assert answer.status_code == 200
    event = {"action_type": "CLICK", "ts": 1, "user_id": "someone", "attributes": {},
             "analytics_response_payload": gif["analytics_response_payload"]}  # fmt: skip
    assert gifs.ask("/v2/pingback", "POST", json={"events": [event]}).status_code == 200
    assert gifs.ask("/v1/gifs/search/actions", "POST", content=b"{").status_code == 200


def test_a_short_media_address_leads_to_the_file(gifs: Library, cat: str):
    def name(path: str) -> str:
        answer = gifs.ask(f"/media/{cat}/{path}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (302, "no-cache")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        return answer.headers["Location"].rpartition("/")[2]

    assert name("giphy.gif") == "preview"
    assert name("giphy.mp4") == name("giphy-loop.mp4") == "mp4"
    assert name("200w.gif") == "tinygif"
    assert name("200w.webp") == "tinywebp"
    assert name("100.gif") == name("giphy-preview.gif") == "nanogif"
    assert name("200w_s.gif") == "tinyposter"
    assert name("480w_s.jpg") == "poster"
    assert name("tinygif.gif") == "tinygif"
    assert name("mediumgif.gif") == "preview"
    for other in (f"/media/{cat}/other.gif", f"/media/{cat}/giphy", "/media/gifs/giphy.gif",
                  "/media/123456789ABC/giphy.gif"):  # fmt: skip
        assert gifs.ask(other).status_code == 404
