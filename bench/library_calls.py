"""The calls of `bench.library`: lists, searches, pages and uploads, in this process.

    python -m bench.library_calls URL TIMES

prints how long each of them takes, as JSON: a list of milliseconds of processor time.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bench.library_rows import open_library
from gifster import uploads
from gifster.api.app import create_app
from gifster.app import collections, library, lists, near_duplicates, search, tokens
from gifster.app.database import db
from gifster.app.models import ImageUploader, User
from gifster.app.search import popularity, tables
from gifster.app.settings import load
from gifster.uploads.files.cache import CacheWriter

BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend'"
)
SOME = "SELECT gif_id FROM search_entry ORDER BY id DESC LIMIT ?"
RARE = "SELECT term FROM search_term WHERE count = 3 LIMIT 1"
Call = Callable[[], Any]


def _find(q: str = "", **asked: Any) -> Call:
    return lambda: lists.list_gifs(q=q, **asked)


def _far(q: str) -> Call:
    """A page behind those that are ranked."""
    cursor: str | None = ""
    for _ in range(8):
        _, cursor = lists.list_gifs(q=q, limit=100, cursor=cursor or "")
        if cursor is None:
            return _find(q)
    return _find(q, cursor=cursor)


def _within() -> Call:
    """A search within a collection as large as one may be."""
    gif_ids = [gif_id for (gif_id,) in tables.rows(SOME, collections.MOST_GIFS)]
    return _find("cat", among=gif_ids)


def _page_of_gallery() -> Call:
    """The whole answer of the application to a browser, but for the network."""
    settings = load()
    web = settings.web.model_copy(update={"access_log": False})
    app = create_app(settings.model_copy(update={"web": web}))
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    def get() -> None:
        answer = loop.run_until_complete(client.get("/"))
        assert answer.text.count('data-state="ready"') == 30, answer.text[:500]

    return get


def _session() -> Call:
    secret = tokens.start_session(User.select().first(), 1)
    return lambda: tokens.find_token(secret, tokens.Kind.SESSION)


def _rare() -> Call:
    return _find(tables.rows(RARE)[0][0])


def _page() -> Call:
    gif_id = lists.list_gifs()[0][0].id
    return lambda: lists.tags_of([library.get_gif(gif_id)])


def _similar() -> Call:
    gif = lists.list_gifs()[0][0]
    return lambda: near_duplicates.near_duplicates_of(gif)


def _related() -> Call:
    gif_id = lists.list_gifs()[0][0].id
    return lambda: search.related(gif_id)


def _upload() -> Call:
    writer = CacheWriter(ImageUploader, "a.png")
    writer.write(PNG)
    cached = writer.finish()

    def upload() -> None:
        with db.atomic() as transaction:
            library.add_gif(cached, title="a cat dances at work", tags=["cat", "dance", "monday"])
            transaction.rollback()

    return upload


#: One red pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cf"
    "c0000003010100c9fe92ef0000000049454e44ae426082"
)
#: Each makes its call.
CALLS: dict[str, Callable[[], Call]] = {
    "the list": _find,
    "the gallery as HTML": _page_of_gallery,
    "who has signed in": _session,
    "a frequent tag": lambda: _find(tag="cat"),
    "a frequent word (one GIF in six)": lambda: _find("cat"),
    "two of them": lambda: _find("cat dog"),
    "four of them": lambda: _find("cat dog happy funny"),
    "any of two, as the third is nowhere": lambda: _find("cat dog qxzzxq"),
    "a rare word": _rare,
    "one letter": lambda: _find("c"),
    "two letters": lambda: _find("ca"),
    "a typing error": lambda: _find("birhtday"),
    "a frequent word of one user": lambda: _find("cat", user="user00000900"),
    "a frequent word in a collection of 2,000": _within,
    "a frequent word, stills": lambda: _find("cat", kind="still"),
    "a frequent word, up to pg": lambda: _find("cat", rating="pg"),
    "a frequent word, newest": lambda: _find("cat", sort="newest"),
    "a frequent word, popular": lambda: _find("cat", sort="popular"),
    "its ninth hundred": lambda: _far("cat"),
    "what is trending": lambda: search.trending,
    "completions of two letters": lambda: lambda: search.complete("ca"),
    "suggestions": lambda: lambda: search.suggestions("cat"),
    "related GIFs": _related,
    "tags": lambda: lambda: search.frequent_tags(100),
    "a GIF and its tags": _page,
    "near duplicates": _similar,
    "an upload's rows": _upload,
}


def _clock() -> Callable[[], float]:
    """Tells the processor time of this process and of its database's processes (seconds)."""
    if not tables.is_postgresql():
        return time.process_time
    paths = [Path(f"/proc/{pid}/schedstat") for (pid,) in tables.rows(BACKENDS)]

    def ran() -> float:
        # Each one's first number is in nanoseconds.
        return sum(int(path.read_text("ascii").split()[0]) for path in paths) / 1e9

    return lambda: time.process_time() + ran()


def _use_some() -> None:
    """Have one GIF in ten be used, some more than others, so that searches look at the shelves."""
    if tables.rows('SELECT 1 FROM "search_entry" WHERE "heat" > 0 LIMIT 1'):
        return
    at = popularity.now()
    # Without a sign of a remainder, which drivers take for a place of a value.
    used = f'UPDATE "search_entry" SET "heat" = {at} + ("id" - "id" / 97 * 97) * 0.1 '
    used += 'WHERE "id" - "id" / 10 * 10 = 0'
    tables.run(used)
    popularity.put_on_shelf()


def _bytes_each() -> float:
    """The bytes of the index for each GIF."""
    (count,) = tables.rows('SELECT count(*) FROM "search_entry"')[0]
    if tables.is_postgresql():
        sql = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ({})"
        names = "'search_entry', 'search_term', 'search_tag'"
        return float(tables.rows(sql.format(names))[0][0]) / count
    sql = "SELECT sum(pgsize) FROM dbstat WHERE aggregate = TRUE AND name LIKE '%search%'"
    return float(tables.rows(sql)[0][0]) / count


def main(url: str, times: int) -> None:
    open_library(url)
    with tempfile.TemporaryDirectory() as folder, db.connection_context():
        storages = {name: uploads.LocalStorage(Path(folder, name)) for name in ("cache", "store")}
        uploads.configure(storages)
        _use_some()
        found = {}
        for name, make in CALLS.items():
            call = make()
            call()
            clock = _clock()  # the call may have made more connections
            found[name] = [_timed(clock, call) for _ in range(times)]
            print(f"{name}: {max(found[name]):.1f} ms", file=sys.stderr)
        found["bytes"] = _bytes_each()
    print(json.dumps(found))


def _timed(clock: Callable[[], float], call: Call) -> float:
    began = clock()
    call()
    return round((clock() - began) * 1000, 2)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
    os._exit(0)  # the thread of the counts may still wait
