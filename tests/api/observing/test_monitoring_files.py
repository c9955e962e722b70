"""The dashboard and the alerts name only metrics and labels that a running Gifster gives, and the
alerts ring when they should."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gifster.scheduler import ALWAYS
from tests.combinations import only_in_ci
from tests.machine import eventually
from tests.stack import Stack

DEPLOY = Path(__file__).parents[3] / "deploy"
ALERTS, DASHBOARD = DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "grafana" / "gifster.json"
GUIDE = DEPLOY.parent / "docs" / "running" / "observing.md"
#: A metric of ours, and the conditions on its labels.
METRIC = re.compile(r"\b(gifster_\w+)(?:\{([^}]*)\})?")
CONDITION = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")
#: Labels that Prometheus itself adds, and that of a histogram.
OF_PROMETHEUS = {"job", "instance", "le"}
#: Metrics that are there only while a queue is paused.
SOMETIMES = {"gifster_queue_paused": {"queue"}}


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression of the files, with a name for the test."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for rule in ALERTS.read_text("utf-8").split("- alert: ")[1:]:
        name, _, rest = rule.partition("\n")
        expression = rest.partition("expr:")[2].partition("labels:")[0].partition("for:")[0]
        yield f"alert {name.strip()}", expression


EXPRESSIONS = list(expressions())
#: The recurring jobs of an installation that has none of its own.
RECURRING = set(ALWAYS)


@pytest.fixture(scope="module")
def given(stack: Stack) -> dict[str, dict[str, set[str]]]:
    """By metric, its labels with their values, after uploads, a sweep and recurring jobs."""
    from tests import images

    stack.start("gifster", "scheduler")
    stack.finished(stack.upload(images.gif()).json()["id"])
    stack.upload(b"no GIF")
    stack.client.get("/")
    dead = "import time; from gifster import jobs; from gifster.app.settings import load; "
    dead += "from gifster.app.boot import boot; boot(load()); from gifster.app.database import db; "
    dead += "db.connect(); jobs.enqueue('nobody'); "
    dead += "jobs.Job.update(failed_at=time.time()).execute()"
    assert stack.run("python", "-c", dead).returncode == 0
    sweep = "UPDATE recurring_job SET next_at = 0"
    due = "import sqlite3; c = sqlite3.connect('var/gifster.db'); "
    due += f"found = c.execute('{sweep}').rowcount; c.commit(); exit(found != {len(RECURRING)})"

    def found() -> dict[str, dict[str, set[str]]] | None:
        metrics = parsed(stack.client.get("/metrics").text)
        enqueued = metrics.get("gifster_recurring_timestamp_seconds", {}).get("name", set())
        swept = metrics.get("gifster_sweep_findings", {}).get("kind")
        there = enqueued == RECURRING and swept and "gifster_job_seconds_sum" in metrics
        return metrics if there else None

    eventually(lambda: "gifster.scheduler" in stack.log("gifster-scheduler"))
    eventually(lambda: stack.run("python", "-c", due).returncode == 0)
    return eventually(found)


def parsed(text: str) -> dict[str, dict[str, set[str]]]:
    metrics: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = metrics[sample.name]
            for name, value in sample.labels.items():
                labels[name].add(value)
    return metrics


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_each_expression_has_metrics_and_labels_that_there_are(
    given: dict[str, dict[str, set[str]]], name: str, expression: str
):
    known = {
        **given,
        **{metric: {of: set() for of in labels} for metric, labels in SOMETIMES.items()},
    }
    metrics = METRIC.findall(expression)
    assert metrics or "up{" in expression, expression
    labels: set[str] = set(OF_PROMETHEUS)
    for metric, conditions in metrics:
        assert metric in known, f"{metric} is not in /metrics"
        labels |= set(known[metric])
        for label, pattern in CONDITION.findall(conditions):
            assert label in known[metric], f"{metric} has no label {label}"
            if label in ("state", "kind", "name", "folder"):  # of which we know all values
                for value in pattern.split("|"):
                    assert value in VALUES.get(label, ()) or value in known[metric][label], value
    for grouped in GROUPED.findall(expression):
        asked = {label.strip() for label in grouped.split(",")}
        assert asked <= labels, f"{asked - labels} are no labels of {metrics}"


#: States that nothing is in, after so few uploads.
VALUES = {"state": {"queued", "processing", "waiting"}}


def test_the_guide_names_every_metric(given: dict[str, dict[str, set[str]]]):
    text = GUIDE.read_text("utf-8")
    named = set(re.findall(r"`(gifster_[a-z_]+)`", text))
    ends = re.compile(r"_(bucket|count|sum|created|info)$")
    bare = {ends.sub("", metric) for metric in given} | set(SOMETIMES)
    documented = {ends.sub("", metric) for metric in named}

    assert {metric for metric in bare if metric.startswith("gifster_")} - documented == set()
    assert documented - bare == set()


def test_the_guide_names_every_alert():
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text("utf-8")))

    assert alerts == set(
        re.findall(r"^\| `(Gifster\w+)` \|", GUIDE.read_text("utf-8"), re.MULTILINE)
    )


def test_the_panels_of_the_dashboard_do_not_overlap():
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (on Debian: apt install prometheus)")
    return found


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", ALERTS),
        ("check", "config", "--syntax-only", ALERTS.parent / "prometheus.yml"),
        pytest.param(
            ("test", "rules", ALERTS.parent / "alerts_test.yml"),
            marks=only_in_ci("4 s; the metrics of each rule are compared with ours daily"),
        ),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_promtool_finds_nothing_wrong(promtool: str, command: tuple[str, ...]):
    done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_every_expression_of_the_dashboard(promtool: str, tmp_path: Path):
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (name, expression) in enumerate(EXPRESSIONS)
        if name.startswith("panel")
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_to_say_of_the_metrics(promtool: str, stack: Stack):
    text = httpx.get(f"{stack.client.base_url}/metrics").text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    # Names of counters that end differently are older than this test, and stay.
    assert "error while linting" not in done.stderr, done.stderr
