"""What a sweep reports: what it found, what it left alone, and why."""

from dataclasses import dataclass, field, fields
from enum import StrEnum

EXAMPLES = 3


class Why(StrEnum):
    """Why files were left alone. FOREIGN: their keys are none that the framework makes. UNKNOWN:
    this process cannot tell whose they are. UNREAD: a table or a storage that would say so could
    not be read, or not be written. BRAKE: they are too many to be deleted unasked."""

    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    UNREAD = "unread"
    BRAKE = "brake"


@dataclass
class LeftAlone:
    """Files that a sweep did not touch, for one reason.

    `where` is a storage, or the table that could not be read; `count` the number of files (0 where
    it is not about files, or nobody knows how many), `examples` some of their keys.
    """

    where: str
    why: Why
    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.count:
            return f"{self.where}: {self.reason}"
        files = "1 file" if self.count == 1 else f"{self.count} files"
        return f"{self.where}: {files}, such as {', '.join(self.examples)}: {self.reason}"


@dataclass
class Findings:
    """What a sweep has found. Files are `storage:key`, rows are `table id column`."""

    #: Files in a cache that no row waits for, and half-written files.
    abandoned: list[str] = field(default_factory=list)
    #: Stored files that no row names.
    orphans: list[str] = field(default_factory=list)
    #: Files that a row names, and that are not there. Nothing can mend them.
    missing: list[str] = field(default_factory=list)
    #: Rows that wait for an upload which no job is going to store.
    stuck: list[str] = field(default_factory=list)
    #: Files that are there and are not what was stored. Only who reads them knows (`contents.py`).
    damaged: list[str] = field(default_factory=list)
    #: What the sweep did not touch, one entry for each place and reason.
    left_alone: list[LeftAlone] = field(default_factory=list)

    def counts(self, *, all_kinds: bool = False) -> dict[str, int]:
        """How many of each: `abandoned`, `orphans`, `missing`, `stuck`; and where there are any,
        `damaged` (files), `left_alone` (files), `held_back` (files, by the brake), `unread` (tables
        and storages).

        Parameters:
          all_kinds: also those four where there are none.
        """
        lists = [p.name for p in fields(self) if p.name not in ("damaged", "left_alone")]
        kept = {False: 0, True: 0}
        for item in self.left_alone:
            kept[item.why is Why.BRAKE] += item.count
        others = {
            "damaged": len(self.damaged),
            "left_alone": kept[False],
            "held_back": kept[True],
            "unread": len({item.where for item in self.left_alone if item.why is Why.UNREAD}),
        }
        return {
            **{name: len(getattr(self, name)) for name in lists},
            **{name: count for name, count in others.items() if count or all_kinds},
        }

    def held_back(self, storage: str) -> bool:
        """Whether the brake kept what was found in a storage."""
        return any(i.why is Why.BRAKE and i.where == storage for i in self.left_alone)

    def leave(self, where: str, why: Why, reason: str, key: str = "") -> None:
        """Add a file, or what is not about one file, to what was left alone."""
        said = (where, why, reason)
        for item in self.left_alone:
            if (item.where, item.why, item.reason) == said:
                break
        else:
            item = LeftAlone(where, why, reason)
            self.left_alone.append(item)
        if key:
            item.count += 1
            if len(item.examples) < EXAMPLES:
                item.examples.append(key)
