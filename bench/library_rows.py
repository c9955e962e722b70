"""The libraries that `bench.library` measures: rows of so many GIFs, with captions whose words are
as frequent as those of a language (Zipf), and without files.

    python -m bench.library_rows URL COUNT

adds rows until there are so many, and puts them into the index of the search, as the job of an
upgrade does.
"""

import bisect
import itertools
import json
import random
import sys
import time
from typing import Any

from gifster import jobs
from gifster.app import database
from gifster.app.database import db
from gifster.app.models import ALPHABET, fingerprint_parts
from gifster.app.search import upkeep
from gifster.app.search.tables import marks, rows, run

#: How many different words there are, and tags among them.
WORDS, TAGS, USERS = 60_000, 20_000, 1_000
BATCH = 2_000
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


def stored(number: int, gif: str) -> dict[str, Any]:
    """The value of a GIF's `image`, with as many versions as an animation has."""
    chance = random.Random(-number)
    width, height = chance.choice(((480, 270), (320, 320), (270, 480), (600, 200)))
    sizes = {"width": width, "height": height, "bytes": 400_000}
    version = {"storage": "store", "content_type": "image/gif", **sizes}
    names = ("thumb", "poster", "tinymp4", "tinywebp", "preview")
    versions = {name: version | {"key": f"gifs/{gif}/{number:032x}/{name}.gif"} for name in names}
    frames = 1 if number % 20 == 0 else 24
    facts = {"filename": "a.gif", "sha256": f"{number:064x}", "frames": frames,
             "duration_ms": 1200, "loop": 0}  # fmt: skip
    looks = {"color": "#8090a0", "thumbhash": "1QcSHQRnh493V4dIh4eXh1h4kJUI", "source": "0" * 35,
             "dhash": f"{chance.getrandbits(64):016x}"}  # fmt: skip
    key = {"key": f"gifs/{gif}/{number:032x}/original.gif", "versions": versions}
    return version | facts | looks | key


def make(count: int) -> None:
    """Add rows until there are so many GIFs."""
    captions = Captions()
    (first,) = rows('SELECT count(*) FROM "gif"')[0]
    if first == 0:
        users = [(f"user{n:08}", f"u{n}@example.org", "Ann", "", False, NEWEST)
                 for n in range(USERS)]  # fmt: skip
        _insert("user", ("id", "email", "name", "password_hash", "is_admin", "created_at"), users)
        names = enumerate(captions.words[:TAGS], 1)
        _insert("tag", ("id", "name"), list(names))
    tags = {name: number for number, name in enumerate(captions.words[:TAGS], 1)}
    for start in range(first, count, BATCH):
        with db.atomic():
            _add(range(start, min(count, start + BATCH)), captions, tags)


def _add(numbers: range, captions: Captions, tags: dict[str, int]) -> None:
    gifs, tagged, parts = [], [], []
    for number in numbers:
        gif, chance = gif_id(number), random.Random(~number)
        title, names, alt_text = captions.of(number)
        image = stored(number, gif)
        rating = chance.choices(("g", "pg", "pg-13", "r"), (85, 10, 4.9, 0.1))[0]
        user = f"user{int(USERS * chance.random() ** 3):08}"
        gifs.append((gif, user, title, alt_text, rating, NEWEST - (10**7 - number) * 10**7,
                     400_000, image["sha256"], json.dumps(image), "ready"))  # fmt: skip
        tagged += [(gif, tags[name]) for name in names]
        parts += [(gif, part) for part in fingerprint_parts(image["dhash"])]
    _insert("gif", ("id", "user_id", "title", "alt_text", "rating", "created_at", "bytes", "sha256",
                    "image", "image_state"), gifs)  # fmt: skip
    _insert("gif_tag", ("gif_id", "tag_id"), tagged)
    _insert("likeness", ("gif_id", "quarter"), parts)


def _insert(table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]]) -> None:
    names = ", ".join(f'"{column}"' for column in columns)
    step = 30_000 // len(columns)
    for at in range(0, len(values), step):
        some = values[at : at + step]
        one = f"({marks(len(columns))})"
        run(f'INSERT INTO "{table}" ({names}) VALUES {", ".join([one] * len(some))}',
            *itertools.chain.from_iterable(some))  # fmt: skip


def open_library(url: str) -> None:
    database.connect(url, durable=False)
    database.migrate()
    db.bind(jobs.TABLES)


def index(seconds: float = 1e9) -> tuple[int, float]:
    """Put the rows into the index; how many, and the CPU seconds of this process."""
    if upkeep.is_filled() and not rows('SELECT 1 FROM "search_entry" LIMIT 1'):
        run("INSERT INTO \"search_fill\" VALUES (1, -1, '')")
    began, ends = time.process_time(), time.monotonic() + seconds
    return upkeep.fill(lambda: time.monotonic() > ends), time.process_time() - began


if __name__ == "__main__":
    open_library(sys.argv[1])
    with db.connection_context():
        if sys.argv[3:]:
            print(index(float(sys.argv[3])), upkeep.is_filled(), flush=True)
        else:
            make(int(sys.argv[2]))
