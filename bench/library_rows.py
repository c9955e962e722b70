"""The libraries that `bench.library` measures: rows of so many GIFs, with captions whose words are
as frequent as those of a language (Zipf), and without files.

    python -m bench.library_rows URL COUNT

adds rows until there are so many, with their entries in the index of the search.
"""

import bisect
import functools
import hashlib
import itertools
import json
import random
import sys
from collections import Counter
from typing import Any

from gifster import jobs
from gifster.app import database
from gifster.app.database import db
from gifster.app.models import ALPHABET, Gif, fingerprint_parts
from gifster.app.search import index, upkeep
from gifster.app.search.facts import MOVES, SHELVES, STILL, of_owner
from gifster.app.search.facts import facts as facts_of
from gifster.app.search.tables import (
    SearchEntry,
    SearchTag,
    SearchTerm,
    is_postgresql,
    marks,
    rows,
)

#: How many different words there are, and tags among them.
WORDS, TAGS, USERS = 60_000, 20_000, 1_000
BATCH = 2_000
SIZES = ((480, 270), (320, 320), (270, 480), (600, 200))
RATINGS, SHARES = ("g", "pg", "pg-13", "r"), (85, 10, 4.9, 0.1)
HASH = "1QcSHQRnh493V4dIh4eXh1h4kJUI"
NEWEST = 1_760_000_000_000_000
COMMON = [
    "cat", "dog", "happy", "funny", "monday", "party", "dance", "love", "work", "coffee",
    "sleep", "birthday", "yes", "no", "wow", "thanks", "hello", "good", "night", "morning",
    "facepalm", "laugh", "cry", "angry", "baby", "food", "pizza", "rain", "snow", "sun", "fish",
    "bird", "jump", "run",
]  # fmt: skip
SYLLABLES = [
    c + v + e for c in "bcdfghklmnprstvw" for v in "aeiou" for e in ("", "n", "r", "s", "l")
]


_tag, _owner = functools.cache(index.of_tag), functools.cache(of_owner)


def words() -> list[str]:
    """The words, the most frequent first."""
    made = random.Random(1)
    found = dict.fromkeys(COMMON)
    while len(found) < WORDS:
        found["".join(made.choices(SYLLABLES, k=made.choice((2, 2, 3, 3, 4))))] = None
    return list(found)


class Captions:
    """Makes captions. The same number always gets the same one."""

    def __init__(self) -> None:
        self.words = words()
        self._sums = list(itertools.accumulate(1 / (rank + 5) for rank in range(WORDS)))

    def _word(self, chance: random.Random, among: int = WORDS) -> str:
        at = chance.random() * self._sums[among - 1]
        return self.words[bisect.bisect(self._sums, at)]

    def of(self, number: int) -> tuple[str, list[str], str]:
        """The title, the tags and the alternative text of a GIF."""
        chance = random.Random(number)
        title = " ".join(self._word(chance) for _ in range(chance.randint(2, 6)))
        tags = sorted({self._word(chance, TAGS) for _ in range(chance.randint(0, 6))})
        text = chance.random() < 1 / 3
        alt_text = " ".join(self._word(chance) for _ in range(chance.randint(4, 8))) if text else ""
        return title, tags, alt_text


def gif_id(number: int) -> str:
    digits = []
    for _ in range(12):
        number, digit = divmod(number * 48271 + 12345, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)


def image_of(number: int, gif: str) -> str:
    """The value of a GIF's `image` as JSON, with versions, as an animation has them."""
    width, height = SIZES[number % len(SIZES)]
    version = {"storage": "store", "content_type": "image/gif", "width": width, "height": height,
               "bytes": 400_000}  # fmt: skip
    names = ("thumb", "poster", "tinymp4", "tinywebp", "preview")
    versions = {name: version | {"key": f"gifs/{gif}/{number:032x}/{name}.gif"} for name in names}
    facts = {"filename": "a.gif", "sha256": f"{number:064x}", "frames": 24 if number % 20 else 1,
             "duration_ms": 1200, "loop": 0}  # fmt: skip
    looks = {"color": "#8090a0", "thumbhash": HASH, "source": "0" * 35, "dhash": dhash(number)}
    key = {"key": f"gifs/{gif}/{number:032x}/original.gif", "versions": versions}
    return json.dumps(version | facts | looks | key)


def dhash(number: int) -> str:
    return hashlib.blake2b(number.to_bytes(8), digest_size=8).hexdigest()


def make(count: int) -> None:
    """Add rows until there are so many GIFs."""
    captions = Captions()
    (first,) = rows('SELECT count(*) FROM "gif"')[0]
    tags = {name: number for number, name in enumerate(captions.words[:TAGS], 1)}
    if first == 0:
        users = [(f"user{n:08}", f"u{n}@example.org", "Ann", "", False, NEWEST)
                 for n in range(USERS)]  # fmt: skip
        insert("user", ("id", "email", "name", "password_hash", "is_admin", "created_at"), users)
        insert("tag", ("id", "name"), [(number, name) for name, number in tags.items()])
    terms, tokens = Counter[str](), Counter[str]()
    with db.atomic():
        for start in range(first, count, BATCH):
            _add(range(start, min(count, start + BATCH)), captions, tags, terms, tokens)
        _count(terms, tokens, {index.of_tag(name): name for name in tags})
        if is_postgresql():
            rows("SELECT setval('search_entry_id_seq', ?)", count)


def _add(
    numbers: range,
    captions: Captions,
    tags: dict[str, int],
    terms: Counter[str],
    tokens: Counter[str],
) -> None:
    gifs, tagged, parts, entries = [], [], [], []
    for number in numbers:
        gif, chance = gif_id(number), random.Random(~number)
        title, names, alt_text = captions.of(number)
        rating = chance.choices(RATINGS, SHARES)[0]
        user = f"user{int(USERS * chance.random() ** 3):08}"
        gifs.append((gif, user, title, alt_text, rating, NEWEST - (10**7 - number) * 10**7,
                     400_000, f"{number:064x}", image_of(number, gif), "ready"))  # fmt: skip
        tagged += [(gif, tags[name]) for name in names]
        parts += [(gif, part) for part in fingerprint_parts(dhash(number))]
        words = " ".join([*title.split(), "|", *names, "|", *alt_text.split()])
        facts = [f"_r{rating.replace('-', '')}", STILL if number % 20 == 0 else MOVES,
                 _owner(user), *map(_tag, names)]  # fmt: skip
        width, height = SIZES[number % len(SIZES)]
        entries.append((number + 1, gif, words, " ".join(facts), width / height, 0.0))
        terms.update(index.terms_of(words))
        tokens.update(map(_tag, names))
    insert("gif", ("id", "user_id", "title", "alt_text", "rating", "created_at", "bytes", "sha256",
                    "image", "image_state"), gifs)  # fmt: skip
    insert("gif_tag", ("gif_id", "tag_id"), tagged)
    insert("likeness", ("gif_id", "quarter"), parts)
    insert("search_entry", ("id", "gif_id", "words", "facts", "ratio", "heat"), entries)


def _count(terms: Counter[str], tokens: Counter[str], names: dict[str, str]) -> None:
    tagged = [
        {"token": token, "name": names[token], "folded": names[token], "count": count}
        for token, count in sorted(tokens.items())
    ]
    upkeep.upsert(SearchTerm, SearchTerm.term, [
        {"term": term, "count": count} for term, count in sorted(terms.items())
    ])  # fmt: skip
    upkeep.upsert(SearchTag, SearchTag.token, tagged)


def insert(table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]]) -> None:
    names = ", ".join(f'"{column}"' for column in columns)
    cursor = db.obj.cursor()
    if is_postgresql():
        with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
            for value in values:
                copy.write_row(value)
    else:
        cursor.executemany(
            f'INSERT INTO "{table}" ({names}) VALUES ({marks(len(columns))})', values
        )


def check() -> None:
    """Raise unless the entries are those that the index's own job would write."""
    for gif in Gif.select().order_by(Gif.created_at.desc()).limit(20):
        tags = index.tags_of([gif])[gif.id]
        entry = SearchEntry.get(SearchEntry.gif == gif)
        assert set(entry.words.split()) == set(index.words_of(gif, tags).split()), gif.id
        assert set(entry.facts.split()) - set(SHELVES) == set(facts_of(gif, tags)), gif.id


def open_library(url: str) -> None:
    database.connect(url, durable=False)
    database.migrate()
    db.bind(jobs.TABLES)


if __name__ == "__main__":
    open_library(sys.argv[1])
    with db.connection_context():
        make(int(sys.argv[2]))
        check()
