"""What a sweep reports: the files and rows that it found, those it left alone, and why."""

import logging
from dataclasses import dataclass, field, fields
from enum import StrEnum

EXAMPLES = 3


class Why(StrEnum):
    """Why the sweep left files alone.

    FOREIGN: the framework does not make such keys. UNKNOWN: this process cannot tell whose they
    are. UNREAD: a table or a storage could not be read, or a file could not be deleted. BRAKE: they
    are too many to delete without `force`. KEPT: their uploader has `keep_files`.
    """

    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    UNREAD = "unread"
    BRAKE = "brake"
    KEPT = "kept"


@dataclass
class LeftAlone:
    """Files that a sweep left alone for one reason.

    Attributes:
      where: a storage, or the table that could not be read.
      why: the kind of reason, for programs.
      reason: the reason, for people.
      count: the number of files; 0 if the reason is not about files, or their number is unknown.
      examples: some of their keys.
    """

    where: str
    why: Why
    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def level(self) -> int:
        """How bad that is, as a level of the log."""
        return {Why.BRAKE: logging.ERROR, Why.UNREAD: logging.WARNING}.get(self.why, logging.INFO)

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
    #: Files that a row names, and that are gone. Nothing can bring them back.
    missing: list[str] = field(default_factory=list)
    #: Rows with an upload that waits, and that no job is going to store.
    stuck: list[str] = field(default_factory=list)
    #: Stored files whose content has changed. A sweep does not read contents: `contents` finds
    #: these.
    damaged: list[str] = field(default_factory=list)
    #: Files that the sweep left alone, one entry for each place and reason.
    left_alone: list[LeftAlone] = field(default_factory=list)

    def counts(self, *, all_kinds: bool = False) -> dict[str, int]:
        """The number of findings by kind: `abandoned`, `orphans`, `missing`, `stuck`; and unless
        they are 0, `damaged` (files), `left_alone` (files), `held_back` (files that the brake
        kept), `unread` (tables and storages).

        Parameters:
          all_kinds: count the last four even if they are 0.
        """
        lists = [p.name for p in fields(self) if p.name not in ("damaged", "left_alone")]
        by_brake = sum(item.count for item in self.left_alone if item.why is Why.BRAKE)
        others = {
            "damaged": len(self.damaged),
            "left_alone": sum(item.count for item in self.left_alone) - by_brake,
            "held_back": by_brake,
            "unread": len({item.where for item in self.left_alone if item.why is Why.UNREAD}),
        }
        return {
            **{name: len(getattr(self, name)) for name in lists},
            **{name: count for name, count in others.items() if count or all_kinds},
        }

    def is_braked(self, storage: str) -> bool:
        """Whether the brake kept the files found in a storage."""
        return any(i.why is Why.BRAKE and i.where == storage for i in self.left_alone)

    def leave(self, where: str, why: Why, reason: str, key: str = "") -> None:
        """Note that a file was left alone, or another fault that is not about one file."""
        for item in self.left_alone:
            if (item.where, item.why, item.reason) == (where, why, reason):
                break
        else:
            item = LeftAlone(where, why, reason)
            self.left_alone.append(item)
        if key:
            item.count += 1
            if len(item.examples) < EXAMPLES:
                item.examples.append(key)
