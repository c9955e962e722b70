"""What the page shows, as values for its templates, and what its buttons do.

Plain functions that need a database connection around them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from gifster import jobs
from gifster.jobs import admin, asking, dead, recurring, states, worker_rows
from gifster.jobs.admin import AdminError, Invalid
from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.states import State
from gifster.jobs.stats import Span, totals
from gifster.jobs.wording import not_one_of

#: How many jobs of a state the page shows, and the list of that state.
FEW, MANY = 10, 50
#: How far the page counts the jobs of a queue in a state: a browser asks for it again and again.
COUNTED = 10_000
#: The graph's size, in pixels of its own.
WIDTH, HEIGHT = 720, 120
FORMATS = {"hour": "%H:%M", "day": "%H:00", "month": "%d %b"}

TITLES = {
    State.RUNNING: "Running",
    State.WAITING: "Waiting for a worker",
    State.RETRYING: "Retries",
    State.SCHEDULED: "Scheduled",
    State.DEAD: "Dead",
}

#: By action: what the page says when it is done. Some say it otherwise if they changed many jobs.
DONE = {
    "retry": "The job was sent to the workers.",
    "delete": "The job was deleted.",
    "retry_chosen": "The chosen jobs were sent to the workers.",
    "delete_chosen": "The chosen jobs were deleted.",
    "retry_all": "All dead jobs were sent to the workers.",
    "delete_all": "All {state} jobs were deleted.",
    "retry_found": "The dead jobs of this list were sent to the workers.",
    "delete_found": "The {state} jobs of this list were deleted.",
    "pause": "The queue is paused: its jobs wait.",
    "resume": "The queue is running again.",
    "quiet": "The worker finishes its jobs, and takes no new ones.",
    "wake": "The worker takes jobs again.",
}

#: The prefix of a deletion's name with which the page asks before it deletes.
ASK = "ask_"

#: Weights by queue; None for those that `jobs.connect()` got.
Weights = Mapping[str, QueueWeight] | None


@dataclass(frozen=True)
class Bar:
    """A bar of the graph: its place, and the heights of its two parts (pixels of the graph)."""

    x: float
    width: float
    done: float
    failed: float
    label: str
    span: Span


def overview(parameters: Mapping[str, str], weights: Weights = None) -> dict[str, object]:
    """The values of `jobs/overview.html`.

    Parameters:
      parameters: of the query: `span`, and `done`, which is what was just done.
      weights: by queue.

    Raises:
      BadQuery: a parameter is invalid.
    """
    span = parameters.get("span") or "hour"
    history = admin.history(span)
    return _common(parameters) | {
        "trouble": asking.trouble(),
        "queues": admin.queues(weights, COUNTED),
        "workers": worker_rows.workers(),
        "busy": admin.busy(),
        "lists": {state: admin.page_of(state, "", FEW) for state in TITLES},
        "recurring": recurring.recurring_jobs(),
        "span": span,
        "spans": list(FORMATS),
        "history": history,
        "bars": _bars(history, FORMATS[span]),
        "width": WIDTH,
        "height": HEIGHT,
        "totals": list(totals()),
    }


def jobs_in(parameters: Mapping[str, str], weights: Weights = None) -> dict[str, object]:
    """The values of `jobs/list.html`, the jobs in one state.

    Parameters:
      parameters: of the query: `state`, `cursor`, `queue` and `q`, which `admin.page_of()` takes;
        and `done`.
      weights: by queue.

    Raises:
      BadQuery: a parameter is invalid.
    """
    state, cursor = parameters.get("state", ""), parameters.get("cursor", "")
    queue, q = parameters.get("queue", ""), parameters.get("q", "").strip()
    found, following = admin.page_of(state, cursor, MANY, queue=queue, text=q)
    where = {"state": state} | _filter(parameters)
    return _common(parameters) | {
        "state": State(state),
        "jobs": found,
        "where": where,
        "queue": queue,
        "queue_names": sorted(admin.queue_names(weights) | {queue} - {""}),
        "q": q,
        "more": urlencode(where | {"cursor": following}) if following else None,
    }


def act(form: Mapping[str, Sequence[str]], weights: Weights = None) -> str:
    """Do what a button says, and return the query of the page to show next.

    Parameters:
      form: `do` is the action; `of` is its job, queue or worker, or the jobs that were chosen;
        `state`, `queue` and `q` are of the list in which the button is.
      weights: by queue.

    Raises:
      AdminError: it cannot be done.
    """
    first = {name: values[0] for name, values in form.items() if values}
    do, of = first.get("do", ""), first.get("of", "")
    where = _filter(first)
    queue, text = where.get("queue", ""), where.get("q", "")
    state = first.get("state") or State.DEAD
    acts: dict[str, Callable[[], object]] = {
        "retry": lambda: admin.retry(of),
        "delete": lambda: admin.drop(of),
        "retry_chosen": lambda: _each(form.get("of", ()), admin.retry),
        "delete_chosen": lambda: _each(form.get("of", ()), admin.drop),
        "retry_all": lambda: admin.all_dead(dead.retry, queue=queue, text=text),
        "delete_all": lambda: admin.clear(state, queue=queue, text=text),
        "pause": lambda: admin.set_paused(of, True, weights),
        "resume": lambda: admin.set_paused(of, False, weights),
        "quiet": lambda: admin.set_quiet(of, True),
        "wake": lambda: admin.set_quiet(of, False),
    }
    if do not in acts:
        raise Invalid("field_invalid", not_one_of("do", do, acts))
    acts[do]()
    said = do.replace("_all", "_found") if where else do
    if first.get("state") in set(State):
        where = {"state": first["state"]} | where
    return urlencode({"done": said} | where)


def question(form: Mapping[str, Sequence[str]]) -> dict[str, object] | None:
    """The values of `jobs/confirm.html`, the question before jobs are deleted. With JavaScript the
    browser has asked already.

    Parameters:
      form: as for `act()`.

    Returns:
      None if the button needs no question.

    Raises:
      AdminError: there is nothing to delete.
    """
    do = form.get("do", [""])[0]
    deletion = do.removeprefix(ASK)
    if do == deletion or deletion not in ("delete", "delete_chosen", "delete_all"):
        return None
    first = {name: values[0] for name, values in form.items() if values}
    state, where, chosen = first.get("state") or State.DEAD, _filter(first), form.get("of", ())
    queue, text = where.get("queue", ""), where.get("q", "")
    jobs = [admin.get_job(chosen[0])] if deletion == "delete" and chosen else []
    if deletion == "delete_all":
        admin.check_clearable(state)
        admin.check_text(text)
        count = states.matching(State(state), queue=queue, text=text).count()
    else:
        count = len(_some(chosen))
    return _common({}) | {
        "question": asked(deletion, state, queue, text),
        "do": deletion,
        "of": chosen,
        "jobs": jobs,
        "count": count,
        "where": ({"state": state} if "state" in first else {}) | where,
    }


def asked(deletion: str, state: str = State.DEAD, queue: str = "", text: str = "") -> str:
    """The question before a deletion: `delete`, `delete_chosen` or `delete_all`."""
    if deletion == "delete":
        return "Delete this job?"
    if deletion == "delete_chosen":
        return "Delete the chosen jobs?"
    of_queue = f" of the queue {queue}" if queue else ""
    with_text = f" with the text “{text}”" if text else ""
    return f"Delete all {state} jobs{of_queue}{with_text}?"


def _some(chosen: Sequence[str]) -> Sequence[str]:
    if not chosen:
        raise Invalid("nothing_chosen", "No job is chosen: tick the box of at least one.")
    return chosen


def _each(chosen: Sequence[str], do: Callable[[str], object]) -> None:
    for job_id in _some(chosen):
        with suppress(AdminError):  # it is done, or somebody else was faster
            do(job_id)


def _filter(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters by which a list is filtered."""
    found = {name: parameters.get(name, "").strip() for name in ("queue", "q")}
    return {name: text for name, text in found.items() if text}


def _common(parameters: Mapping[str, str]) -> dict[str, object]:
    done, state = parameters.get("done", ""), parameters.get("state") or State.DEAD
    notice = DONE.get(done, "").format(state=state)
    if "delete_" in done and state != State.DEAD:
        notice += " Those that a worker had begun stay."
    return {
        "asked": asked,
        "titles": TITLES,
        "now": jobs.now(),
        "moment": admin.moment,
        "ago": ago,
        "counted": counted,
        "dumps": lambda value: json.dumps(value, ensure_ascii=False),
        "notice": notice,
    }


def ago(seconds: float) -> str:
    """A duration for people: `8 s`, `4 min`, `3 h`, `2 d`."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length * 2:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s" if seconds >= 10 or seconds <= 0 else f"{seconds:.1f} s"


def counted(number: int) -> str:
    """A number of jobs that were counted as far as `COUNTED`."""
    return str(number) if number < COUNTED else f"{COUNTED}+"


def _bars(history: list[Span], form: str) -> list[Bar]:
    most = max([span.done + span.failed for span in history] + [1])
    width = WIDTH / len(history)
    return [
        Bar(
            x=round(number * width, 2),
            width=round(width * 0.8, 2),
            done=round(span.done / most * HEIGHT, 2),
            failed=round(span.failed / most * HEIGHT, 2),
            label=datetime.fromtimestamp(span.begin, UTC).strftime(form),
            span=span,
        )
        for number, span in enumerate(history)
    ]
