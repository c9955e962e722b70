"""After a scenario: wait until all work is done, sweep, and count."""

import email
import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos.site import Site
from chaos.stream import NEW_WIDTH, Promises
from tests.machine import eventually

SETTLE_S = 90.0
_JOB_LINE = re.compile(
    r"^\[(?P<at>[^\]]+)\] \[PID (?P<pid>\d+)\]"
    r".* (?P<what>start|done|fail|skip) .* job=(?P<job>\w+) ",
    re.MULTILINE,
)
_COUNT = re.compile(r"(\d+) (abandoned|orphans|missing|stuck|left alone|held back|unread)")
#: Files that should be gone.
_LEFT = ("abandoned", "orphans", "left alone", "unread")


@dataclass
class Verdict:
    """The counts of one scenario. Everything from `lost` to `orphans` must be 0."""

    name: str
    accepted: int
    stored: int
    failed: int
    deleted: int
    blows: int
    unanswered: int
    lost: int
    wrong: int
    double_mails: int
    missing_mails: int
    orphans: int
    recovery_s: float | None
    took_s: float
    notes: list[str]
    #: The longest time until an upload had its answer (seconds).
    slowest_s: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether Gifster kept its promise."""
        return not (self.lost or self.wrong or self.double_mails or self.orphans)

    @classmethod
    def of_checks(cls, name: str, count: int, wrong: list[str], took_s: float) -> "Verdict":
        """The verdict of checks that send no stream of uploads; `wrong` has a line for each that
        failed."""
        return cls(name, 0, 0, 0, 0, count, 0, 0, len(wrong), 0, 0, 0, None, took_s, wrong)


def settle(site: Site, promises: Promises, within_s: float = SETTLE_S) -> dict[str, dict[str, Any]]:
    """Wait until all accepted uploads are ready or failed.

    Parameters:
      within_s: how long none of them may become ready or failed (seconds). On a busy machine all of
        them may take five times as long.

    Returns:
      all GIFs, by id.
    """
    started = progress = time.monotonic()
    least: int | None = None
    while True:
        gifs = everything(site)
        waiting = sum(1 for gif in gifs.values() if gif["state"] in ("queued", "processing"))
        if not waiting and site.stack.run("gifster", "jobs", "list").stdout.startswith("no jobs"):
            return everything(site)
        now = time.monotonic()
        if least is None or waiting < least:
            least, progress = waiting, now
        if now > min(progress + within_s, started + 5 * within_s):
            return gifs
        time.sleep(0.5)


def everything(site: Site) -> dict[str, dict[str, Any]]:
    """All GIFs, by id."""
    gifs: dict[str, dict[str, Any]] = {}
    cursor: str | None = ""
    with site.client() as client:
        while cursor is not None:
            page = client.get("/api/gifs", params={"limit": 100, "cursor": cursor}).json()
            gifs |= {gif["id"]: gif for gif in page["items"]}
            cursor = page["next"]
    return gifs


def judge(name: str, site: Site, promises: Promises, started: float) -> Verdict:
    """Compare the GIFs with what was promised, and count the differences."""
    eventually(site.stack.answers, within=30)  # the last blow may have hit the web server
    gifs = settle(site, promises)
    kept = {i: gif for i, gif in gifs.items() if i in promises.accepted}
    expected = set(promises.accepted) - promises.deleted
    stored = {i for i in expected & set(kept) if kept[i]["state"] == "ready"}
    failed = {i for i in expected & set(kept) if kept[i]["state"] == "failed" and kept[i]["error"]}
    lost = expected - stored - failed
    wrong = {i for i in promises.deleted if i in gifs}
    wrong |= {
        i
        for i in stored & promises.replaced - promises.unsure
        if kept[i]["image"]["width"] != NEW_WIDTH
    }
    site.stack.run("gifster", "fsck", "--repair", "--older-than", "0")
    settle(site, promises, 20)
    swept = fsck(site)
    counts = counts_of(swept)
    mails = welcome_mails(site.folder / "var" / "mail")
    notes = swept.splitlines()[:-1][:5] + promises.refused[:3]
    notes += [f"lost {i}: {gifs.get(i, {}).get('state', 'no row')}" for i in sorted(lost)[:5]]
    notes += [f"failed {i}: {kept[i]['error']}" for i in sorted(failed)[:5]]
    return Verdict(
        name=name,
        accepted=len(promises.accepted),
        stored=len(stored),
        failed=len(failed),
        deleted=len(promises.deleted),
        blows=site.blows,
        unanswered=promises.unanswered,
        lost=len(lost) + counts.get("missing", 0) + counts.get("stuck", 0),
        wrong=len(wrong),
        double_mails=sum(1 for count in mails.values() if count > 1),
        missing_mails=len(promises.signed_up - set(mails)),
        orphans=sum(counts.get(kind, 0) for kind in _LEFT),
        recovery_s=longest_recovery(site),
        took_s=time.monotonic() - started,
        notes=notes,
        slowest_s=promises.slowest_s,
    )


def fsck(site: Site) -> str:
    """The output of `gifster fsck` for files of any age."""
    return site.stack.run("gifster", "fsck", "--older-than", "0").stdout


def counts_of(swept: str) -> dict[str, int]:
    """The counts in the output of `fsck`, by kind."""
    return {kind: int(count) for count, kind in _COUNT.findall(swept)}


def welcome_mails(folder: Path) -> Counter[str]:
    """How many welcome mails each address got."""
    found: Counter[str] = Counter()
    for path in folder.glob("*.eml"):
        found[str(email.message_from_bytes(path.read_bytes())["To"]).lower()] += 1
    return found


def events(site: Site) -> list[tuple[float, int, str, str]]:
    """The workers' log lines about jobs: time, process, event, job."""
    return events_in(site.log("worker"))


def events_in(log: str) -> list[tuple[float, int, str, str]]:
    """The lines about jobs in the log of some workers."""
    return sorted(
        (
            datetime.strptime(line["at"], "%Y-%m-%d %H:%M:%S,%f").timestamp(),
            int(line["pid"]),
            line["what"],
            line["job"],
        )
        for line in _JOB_LINE.finditer(log)
    )


def longest_recovery(site: Site) -> float | None:
    """The longest time from a worker's death until another process had its job (seconds); None if
    no worker died during a job."""
    log = events(site)
    last_seen = {pid: at for at, pid, _, _ in log}
    found = []
    for killed_at in [at for p in site.processes if p.role == "worker" for _, at in p.killed_at]:
        in_hand: dict[str, int] = {}
        for at, pid, what, job in log:
            if at <= killed_at and what == "start":
                in_hand[job] = pid
            elif at <= killed_at:
                in_hand.pop(job, None)
        for job, dead in in_hand.items():
            if last_seen[dead] > killed_at + 0.05:
                continue  # this process still lives: another one was killed
            taken = [at for at, pid, _, j in log if j == job and at > killed_at and pid != dead]
            found += [min(taken) - killed_at] if taken else []
    return max(found, default=None)
