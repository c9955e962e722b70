"""Finding GIFs: what is found, in which order, and page by page."""

import random
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from gifster.app import library, lists, models, search
from gifster.app.database import db
from gifster.app.errors import BadQuery
from gifster.app.models import Gif, GifTag, Tag, now
from gifster.app.search import asking, candidates, finding, popularity, tables, upkeep
from gifster.app.settings import Settings
from gifster.jobs import transaction
from gifster.uploads import actors
from gifster.uploads.testing import run_jobs
from tests.app.fixtures import WRITE_SOON
from tests.app.gifs import added
from tests.app.people import person
from tests.machine import eventually
from tests.threads import no_more_threads

DATA = Path(__file__).parents[1] / "data" / "search"
CAPTIONS = [line.split("\t") for line in (DATA / "captions.tsv").read_text("utf-8").splitlines()]
QUERIES = [line.split("\t") for line in (DATA / "queries.tsv").read_text("utf-8").splitlines()]


def add(title: str, *tags: str, **fields: object) -> Gif:
    gif = Gif.create(title=title, **fields)
    for name in tags:
        tag, _ = Tag.get_or_create(name=name)
        GifTag.create(gif=gif, tag=tag)
    search.put(gif, tags)
    return gif


def found(q: str = "", **asked: object) -> list[str]:
    return [gif.title for gif in lists.list_gifs(q=q, **asked)[0]]


def test_the_published_queries_find_the_right_gif_among_the_first_five(booted: Settings):
    # Given a library of captions in two languages, and 200 queries with typing errors, prefixes,
    # other forms and orders of the words, and emoji
    assert len(QUERIES) == 200
    for title, tags in CAPTIONS:
        add(title, *tags.split(","))

    # When I search for each, as somebody who has not said which language it is in
    missed = [query for kind, query, title in QUERIES if title not in found(query)[:5]]

    # I expect at most one in twenty to miss
    assert len(missed) <= len(QUERIES) // 20, missed


@pytest.mark.parametrize(
    ("q", "titles"),
    [
        ("CATS monday", ["Monday mood"]),  # all words, in titles and tags, in any order
        ("monday dogs", ["Monday mood", "Dogs at work"]),  # then any of them, short titles first
        ("mond", ["Monday mood"]),  # the beginning of the last word
        ("mond mood", ["Monday mood"]),  # not of the first one, but any word is enough
        ("mondya", ["Monday mood"]),  # a typing error
        ("work", ["Dogs at work", "Hard-working"]),  # the same stem comes after the word itself
        ("creme", ["Crème brûlée"]),
        ("don\u2019t", ["Don't panic"]),
        ("katzen", ["Süße Katze"]),
        ("🔥", ["Fire 🔥"]),
        ("fire", ["Fire 🔥"]),
        ("ジャンプ", ["猫がジャンプ"]),
        ("猫", ["猫がジャンプ"]),
        ("กิน", ["แมวกินปลา"]),
        ("شاي", ["شَاي"]),
        ("the", []),
        ("!?", []),
    ],
)
def test_words_are_found(booted: Settings, q: str, titles: list[str]):
    for title in ("Monday mood", "Dogs at work", "Hard-working", "Crème brûlée", "Don't panic",
                  "Süße Katze", "Fire 🔥", "猫がジャンプ", "แมวกินปลา", "شَاي"):  # fmt: skip
        add(title, *(["cats"] if title == "Monday mood" else []))

    assert sorted(found(q)) == sorted(titles)
    assert found(q)[: len(titles) and 1] == titles[:1]


def test_a_typing_error_is_forgiven_only_where_nothing_else_is_found(booted: Settings):
    add("Cat")
    add("Bat")
    add("Elephant")

    assert found("cat") == ["Cat"]
    assert found("elepahnt") == ["Elephant"]
    assert found("elephxnt") == ["Elephant"]
    assert found("elxphxnt") == []


def test_filters_narrow_what_is_found(booted: Settings):
    ann = person("Ann")
    add("cat", rating="r", user=ann)
    add("cat b", "tag b")
    add("cat c", "tag")
    add("cat d", visibility="private", user=ann)
    add("cat e", visibility="unlisted")
    add("cat f", trashed_at=now())

    assert sorted(found("cat")) == ["cat", "cat b", "cat c"]
    assert sorted(found("cat", rating="pg-13")) == ["cat b", "cat c"]
    assert found("cat", user=ann.id) == ["cat"]
    assert found(user=ann.id) == ["cat"]
    assert found(tag="tag") == found("cat", tag="tag") == ["cat c"]
    assert found("cat", kind="still") == []
    assert len(search.find("cat", search.Filter(ready=True)).gifs) == 0
    assert found("cat", sort="newest") == ["cat c", "cat b", "cat"]
    for name, value in {"type": "film", "rating": "x", "sort": "best", "user": "ann"}.items():
        with pytest.raises(BadQuery) as refused:
            found("cat", **{"kind" if name == "type" else name: value})
        assert refused.value.code == f"{name}_invalid"


def declare_actors() -> None:
    for actor in (actors.store_asset, actors.complete_asset, actors.remove_files):
        dramatiq.get_broker().declare_actor(actor)


def test_a_process_without_the_search_stores_no_image(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    # Given a process that has not loaded the search, so that nothing would find the image
    gif = added(title="cat")
    declare_actors()
    monkeypatch.setattr(models, "index_image", None)

    # When its worker stores an upload, I expect the job to fail, and nothing to have changed
    with pytest.raises(RuntimeError, match=r"Import gifster\.app\.search"):
        run_jobs()
    assert Gif.get_by_id(gif.id).image_state != "ready"
    assert found("cat", kind="gif") == []


def test_an_upload_is_found_by_its_image_and_its_present_texts(booted: Settings):
    # Given an upload whose image is stored
    gif = added(title="Walrus", tags=["ice"], alt_text="on a floe")
    assert found("floe") == found("walrus", tag="ice") == ["Walrus"]
    assert found("walrus", kind="gif") == []
    declare_actors()
    run_jobs()
    assert found("walrus", kind="gif") == found(kind="gif") == ["Walrus"]
    assert found("walrus", kind="still") == []

    # When it gets other texts, and is hidden and shown again
    library.edit_gif(gif.id, None, title="Seal", tags=["snow"])
    assert found("walrus") == found(tag="ice") == []
    assert found("seal", tag="snow", kind="gif") == ["Seal"]
    library.edit_gif(gif.id, None, visibility="unlisted")
    assert found("seal") == []
    assert search.complete("sea") == search.complete("sno") == []
    library.edit_gif(gif.id, None, visibility="public")
    assert found("seal") == ["Seal"]

    # And when it is deleted, I expect nothing to be left of it
    library.delete_gif(gif.id, None)
    assert found("seal") == []
    assert search.complete("sea") == []
    assert (
        tables.rows("SELECT * FROM search_entry") == tables.rows("SELECT * FROM search_tag") == []
    )


def test_nothing_is_found_of_an_upload_that_is_rolled_back(booted: Settings):
    with pytest.raises(ZeroDivisionError), transaction(db):
        added(title="Walrus")
        raise ZeroDivisionError

    assert found("walrus") == []
    assert search.complete("wal") == []


def test_pages_stay_what_they_are_while_gifs_come(booted: Settings, monkeypatch):
    # Given more GIFs than are ranked, and a few that have only one of the words
    monkeypatch.setattr("gifster.app.search.walking.RANKED", 7)
    for number in range(40):
        add(f"cat {number} dance" if number % 4 else f"cat {number}")
    whole = {gif.title for gif in Gif.select()}

    # When I turn the pages, and others upload
    for sort in search.SORTS:
        seen, cursor = [], ""
        while cursor is not None:
            gifs, cursor = lists.list_gifs(q="dance cat", sort=sort, limit=4, cursor=cursor)
            seen += [gif.title for gif in gifs]
            if len(seen) < 12:
                add("cat dance, newer")

        # I expect each GIF once, those with both words first
        both = {title for title in whole if "dance" in title}
        titles = [title for title in seen if title in whole]
        assert max(Counter(titles).values()) == 1
        assert set(titles[: len(both)]) == both
        assert set(titles) == (whole if sort == "relevance" else both)
        assert search.find("dance cat", sort=sort, offset=len(both) + 3, limit=5).gifs or sort

    with pytest.raises(BadQuery, match="cursor"):
        lists.list_gifs(q="cat", cursor="YWxs")


@pytest.mark.parametrize("sort", search.SORTS)
def test_pages_stay_what_they_are_while_gifs_go(booted: Settings, monkeypatch, sort: str):
    # Given GIFs of which some are ranked
    monkeypatch.setattr("gifster.app.search.walking.RANKED", 20)
    gifs = {gif.title: gif for gif in (add(f"cat {number}") for number in range(30))}
    whole = found("cat", sort=sort, limit=100)

    # When I turn the pages, and on each one that I have seen one to three GIFs are deleted
    seen: list[str] = []
    gone: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = lists.list_gifs(q="cat", sort=sort, limit=4, cursor=cursor)
        seen += [gif.title for gif in page]
        end = len(seen)
        for title in {1: seen[-1:], 2: seen[0:1] + seen[-2:], 0: seen[-4:-1]}[end // 4 % 3]:
            if title not in gone:
                search.remove(gifs[title].id)
                gifs[title].delete_instance(recursive=True)
                gone.add(title)

    # I expect each GIF once
    assert gone
    assert seen == whole


def test_a_page_may_end_where_a_block_of_ids_does(booted: Settings):
    # Given a frequent word, and a page whose last entry is the first one of a block
    for number in range(3):
        add(f"cat {number}")
    of_cats = asking.meant("cat", "")[0]
    below = 1 << candidates.BLOCK_BITS

    # When I look for one more GIF, as to know whether there is another page
    found_by = asking.expression([of_cats], all_words=True)
    read = candidates.some_of_newest(found_by, below, most=1, likely=100 * below, enough=1)

    assert [candidate.words.split()[1] for candidate in read.found] == ["2"]


@pytest.mark.parametrize("used", [0, 3, 9])
def test_a_gif_that_is_used_between_two_pages_shows_no_other_twice(booted: Settings, used: int):
    for number in range(10):
        add(f"cat {number}")
    page, cursor = lists.list_gifs(q="cat", sort="popular", limit=4)
    whole = found("cat", sort="popular", limit=100)

    # When one of the first page, its last one or one behind it moves to the top
    gif = Gif.get(Gif.title == whole[used])
    search.used(gif.id, client="ann")
    popularity.COUNTS.write()

    # I expect the next page to go on behind the first one
    following, _ = lists.list_gifs(q="cat", sort="popular", limit=4, cursor=cursor or "")
    assert [gif.title for gif in following] == whole[4:8]
    assert [gif.title for gif in page] == whole[:4]


@pytest.mark.parametrize("limit", [2, 4, 10])
def test_a_gif_that_is_edited_between_two_pages_hides_no_other(booted: Settings, limit: int):
    # Given a page, whose last GIF then gets a title that fits less
    for number in range(30):
        add(f"cat {number}")
    page, cursor = lists.list_gifs(q="cat", limit=limit)
    whole = found("cat", limit=100)
    page[-1].title = "a very long title in which there is also a cat somewhere"
    page[-1].save()
    search.put(page[-1], [])
    assert found("cat", limit=100)[-1] == page[-1].title

    # I expect the next page to go on behind the first one
    following, _ = lists.list_gifs(q="cat", limit=limit, cursor=cursor or "")
    assert [gif.title for gif in following] == whole[limit : 2 * limit]


def test_a_page_behind_all_that_is_left_is_empty(booted: Settings):
    # Given a page in the middle of what a search finds
    added = [add(f"cat {number}") for number in range(4)]
    _, cursor = lists.list_gifs(q="cat", limit=3)
    assert cursor is not None

    # When most of it is deleted, or somebody makes up a cursor that is far behind
    for gif in added[:3]:
        search.remove(gif.id)
        gif.delete_instance()

    # I expect an end
    made_up = finding.write_cursor(finding.Place(top=2**50, ranked=99_999))
    for sort in ("relevance", "popular"):
        for asked in (cursor, made_up):
            assert lists.list_gifs(q="cat", sort=sort, cursor=asked) == ([], None)


NASTY = [
    '"', "'", "\\", "''", '" OR "', "a AND NOT b", "NEAR(a b)", "words:cat", "{words} : cat",
    "cat*", "^cat", "(", ")", "a & !b", "a:*", "<->", "%", "_", "_rg", "_km cat", "%s %(x)s ?",
    "\ud800", "a\0b", "x" * 200, "x" * 10_000, "ab " * 60, "👩‍👩‍👧‍👦", "🏳️‍🌈🏴‍☠️", "❤️‍🔥", "\u202eevi",
    "مرحبا بالعالم", "שלום", "ﷺ", "\u0301\u0302", "ก็", "ẞß", "İı", "\uff11\uff12", "①②", "猫" * 100,
    "\U0010ffff", "\ue000", "a\u200db", "--", "/* */", ";DROP TABLE gif", "the of and", "0", "1 2",
    "🏽", "cat 🏽",
]  # fmt: skip


@pytest.mark.parametrize("extra", range(3))
def test_no_text_is_an_error(booted: Settings, extra: int):
    chance = random.Random(extra)
    add("cat _km 0 the ß 猫 🔥", "of and")
    mixed = ["".join(chance.choices("".join(NASTY) + "aét ", k=30)) for _ in range(60)]

    for text in [*NASTY, *mixed] if extra == 0 else mixed:
        for ask in (
            lambda text=text: lists.list_gifs(q=text),
            lambda text=text: lists.list_gifs(tag=text, sort="popular"),
            lambda text=text: lists.list_gifs(q="cat", cursor=text),
        ):
            with suppress(BadQuery):
                ask()
        cleaned = text.replace("\0", "").encode("utf-8", "ignore").decode()[:200]
        if text in NASTY:
            add(cleaned)
        search.find(cleaned, locale=text)
        search.complete(cleaned)
        search.suggestions(cleaned)
        search.used(text, text)
        search.searched(text)
    popularity.COUNTS.write()
    assert found("_km") == found("km")  # what filters ask for cannot be asked for in words


def test_what_is_counted_while_no_thread_can_start_is_written_later(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(popularity, "WRITE_EVERY_S", 0.01)
    monkeypatch.setattr(popularity.Counts, "_write_soon", WRITE_SOON)
    gif = add("cat")
    with no_more_threads("popularity"):
        search.used(gif.id, "cat", client="ann")

    search.used(gif.id, "cat", client="bob")

    heat = "SELECT heat FROM search_entry"
    eventually(lambda: [round(2 ** (h - popularity.now())) for (h,) in tables.rows(heat)] == [2])


def test_what_is_used_comes_first_and_is_forgotten(booted: Settings):
    # Given three GIFs, of which many people use the oldest
    gifs = [add(f"cat {number}") for number in range(3)]
    for number in range(20):
        search.used(gifs[0].id, "cats", client=f"client {number}")
    # And one client who uses another one in a loop
    for _ in range(500):
        search.used(gifs[1].id, "cat 1", client="loop")
    popularity.COUNTS.write()

    # I expect that the loop counted once
    at = popularity.now()
    heat = dict(tables.rows("SELECT gif_id, heat FROM search_entry"))
    assert round(2 ** (heat[gifs[0].id] - at)) == 20
    assert round(2 ** (heat[gifs[1].id] - at)) == 1
    assert [gif.title for gif in search.trending().gifs] == ["cat 0", "cat 1", "cat 2"]
    assert found("cat", sort="popular") == ["cat 0", "cat 1", "cat 2"]
    assert found("cat")[0] == "cat 0"

    # And that half of it is forgotten after some time
    later = popularity.now() + 1
    assert round(2 ** (popularity.added(heat[gifs[0].id], 1, later) - later)) == 11

    # And that nobody learns of searches for words that no GIF has
    for client in "abc":
        search.searched("my secret", client=client)
        search.searched("cat", client=client)
    popularity.COUNTS.write()
    assert search.trending_terms() == ["cat"]
    assert search.complete("my") == []

    # Nor of searches for words that only GIFs have which are hidden by now
    for gif in gifs:
        gif.visibility = "private"
        search.put(gif)
    assert search.trending_terms() == []
    assert search.complete("ca") == []


def test_the_most_used_are_among_the_candidates_however_old(booted: Settings, monkeypatch):
    # Given a used GIF that is older than all candidates
    monkeypatch.setattr("gifster.app.search.walking.RANKED", 5)
    old = add("cat of old")
    for number in range(12):
        add(f"cat {number}")
    search.used(old.id, client="a")
    popularity.COUNTS.write()
    assert "cat of old" not in found("cat", limit=5)

    # When the recurring job has put it in front
    assert popularity.put_on_shelf() == 1
    assert popularity.put_on_shelf() == 0

    # I expect it, once
    everything = found("cat", limit=50)
    assert everything.index("cat of old") < 5
    assert len(everything) == len(set(everything)) == 13
    assert found("cat", sort="popular")[0] == "cat of old"


def test_a_library_of_an_older_release_is_filled(booted: Settings, monkeypatch):
    # Given GIFs without entries, as after an upgrade, and one that is changed before its turn
    monkeypatch.setattr(upkeep, "BATCH", 3)
    monkeypatch.setattr(upkeep, "PAUSE_S", 0)
    for number in range(8):
        add(f"cat {number}", "pets")
    add("cat hidden", visibility="private")
    for table in ("entry", "term", "tag"):
        tables.run(f"DELETE FROM search_{table}")
    tables.run("INSERT INTO search_fill VALUES (1, -1, '')")
    changed = Gif.get(Gif.title == "cat 3")
    library.edit_gif(changed.id, None, title="dog 3")
    assert len(found(tag="pets")) == 8  # lists of a tag do not need the index

    # When the job runs
    assert upkeep.fill() == 8

    # I expect each to be found, and counted once
    assert upkeep.is_filled()
    assert len(found("cat")) == 7
    assert found("dog") == ["dog 3"]
    assert search.frequent_tags(5) == [("pets", 8)]

    # And one to be added that a web process of the release before has left out
    Gif.create(title="walrus")
    assert upkeep.add_left_out() == 1
    assert found("walrus") == ["walrus"]


@pytest.mark.parametrize("older", [True, False], ids=["of an older release", "left out"])
def test_a_gif_that_is_hidden_on_its_way_into_the_index_does_not_get_there(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, older: bool
):
    # Given a GIF without an entry, which the job has read
    gif, readable = Gif.create(title="secret"), upkeep.readable
    if older:
        tables.run("INSERT INTO search_fill VALUES (1, -1, '')")

    def read_and_hide(query: Any) -> list[Gif]:
        read = readable(query)
        if read:
            with transaction(db):
                hidden = Gif.get_by_id(gif.id)
                hidden.visibility = "private"
                hidden.save()
                search.put(hidden)
        return read

    # When it is hidden before the job puts it into the index
    monkeypatch.setattr(upkeep, "readable", read_and_hide)
    assert (upkeep.fill() if older else upkeep.add_left_out()) == 1

    # I expect no completion to have its words
    assert search.complete("sec") == []


def test_words_that_help_to_search(booted: Settings):
    cat = add("Monday mood", "cats", "sleepy", "happy birthday")
    add("Sleepy head", "cats", "bed")
    add("Nothing", "dogs")

    assert search.complete("cat") == ["cats"]
    assert search.complete("happy b")[0] == "happy birthday"
    assert search.complete("") == []
    # A completion finds something, and has no typing error
    assert search.complete("sleepy b") == ["sleepy bed", "sleepy birthday"]
    assert search.complete("slepy b") == ["sleepy bed", "sleepy birthday"]
    assert search.complete("sleepy - b") == ["sleepy bed", "sleepy birthday"]
    assert search.complete("sleepy -") == ["sleepy"]
    assert search.complete("nothing b") == []
    assert search.complete("walrus b") == []
    assert search.suggestions("cats") == ["bed", "happy birthday", "sleepy"]
    assert [gif.title for gif in search.related(cat.id).gifs] == ["Sleepy head"]
    assert search.related("nope").gifs == []
    assert search.frequent_tags(1) == [("cats", 2)]
    assert search.categories(search.Filter(ready=True)) == []  # no GIF has an image yet


@pytest.mark.parametrize("enough", [50, 1])
def test_hits_that_lie_far_apart_are_all_found(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, enough: int
):
    # Given entries in many blocks of ids, every third with both words
    for name, value in {"FEW": 0, "MOST_BLOCKS": 3, "PART": 16, "ENOUGH": enough}.items():
        monkeypatch.setattr(candidates, name, value)
    monkeypatch.setattr("gifster.app.search.walking.RANKED", 4)
    titles = []
    for number in range(40):
        titles.append(f"cat {number}" + " dance" * (number % 3 == 0))
        add(titles[-1])
        if tables.is_postgresql():
            tables.run("SELECT setval('search_entry_id_seq', ?)", (number + 1) * 5_000)
        else:
            sql = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'search_entry'"
            tables.run(sql, (number + 1) * 5_000)

    # I expect the newest first, each once, however few there are in a window
    for q in ("cat", "dance", "cat dance"):
        wanted = [title for title in reversed(titles) if "cat" not in q or "cat" in title]
        wanted = [title for title in wanted if "dance" not in q or "dance" in title]
        seen, cursor = [], ""
        while cursor is not None:
            gifs, cursor = lists.list_gifs(q=q, sort="newest", limit=3, cursor=cursor)
            seen += [gif.title for gif in gifs]
        assert seen == wanted, q
        # And by relevance all of them, each once, before those that have only one of the words
        best = found(q, limit=100)
        assert sorted(best[: len(wanted)]) == sorted(wanted), q
        assert len(set(best)) == len(best)


def test_a_search_among_some_gifs_finds_those_that_it_finds_among_all(booted: Settings):
    # Given two GIFs in three that are, say, in a collection
    gifs = [add(title, *tags.split(",")) for title, tags in CAPTIONS[:90]]
    some = [gif.id for number, gif in enumerate(gifs) if number % 3]
    titles = {gif.title for gif in gifs if gif.id in some}
    asked = [{"q": query} for _, query, _ in QUERIES[:20]]
    asked += [{"q": QUERIES[0][1], "sort": "newest"}, {"rating": "g"}, {"kind": "sticker"}]

    for each in asked:
        # When I search among all of them, I expect what all of the index has
        everything = found(**each, limit=100)
        assert found(**each, among=[gif.id for gif in gifs], limit=100) == everything
        # When I search among some, I expect those, in the same order
        expected = [title for title in everything if title in titles]
        assert found(**each, among=some, limit=100) == expected, each
    assert found(q=QUERIES[0][1], among=[]) == []
