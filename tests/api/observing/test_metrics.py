"""`/metrics`: what Prometheus gets from a real stack."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gifster.api.count_files import CountFile
from tests import images
from tests.app.small_disks import mounted
from tests.machine import eventually
from tests.stack import Stack


def metrics(stack: Stack) -> dict[tuple[str, ...], float]:
    answer = stack.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_gifs_jobs_and_findings_of_the_sweep_are_counted(new_stack: Callable[..., Stack]):
    # Given two GIFs, and no worker
    stack = new_stack()
    stack.start_web()
    assert ("gifster_gifs", "queued") not in metrics(stack)
    ids = [stack.upload(images.gif()).json()["id"] for _ in range(2)]

    counted = metrics(stack)
    assert counted["gifster_gifs", "queued"] == 2
    assert counted["gifster_jobs", "carrierwave", "waiting"] == 2
    assert counted["gifster_jobs_oldest_seconds", "carrierwave"] > 0

    # When they are stored, and one of them then loses its file
    stack.start_worker()
    gif, _ = (stack.finished(gif_id) for gif_id in ids)
    (stack.var / "store" / gif["image"]["url"].partition("/media/")[2]).unlink()
    stack.run("python", "-c", SWEEP)

    # I expect the next sweep to say so
    eventually(lambda: metrics(stack).get(("gifster_sweep_findings", "missing")) == 1)
    counted = metrics(stack)
    assert counted["gifster_gifs", "ready"] == 2
    assert counted["gifster_sweep_findings", "orphans"] == 0
    assert counted[("gifster_sweep_timestamp_seconds",)] > 1_700_000_000

    # And the metrics to have the jobs and the worker
    eventually(lambda: metrics(stack).get(("gifster_jobs_done_total", *UPLOADS)) == 2)
    counted = metrics(stack)
    assert counted[("gifster_job_seconds_count", *UPLOADS)] == 2
    assert counted[("gifster_job_seconds_sum", *UPLOADS)] > 0
    assert counted["gifster_workers", "working"] == 1
    [threads] = [value for key, value in counted.items() if key[0] == "gifster_worker_threads"]
    assert threads == 2


UPLOADS = ("store_asset", "carrierwave")


def test_requests_are_counted_by_all_processes_of_a_web_server(new_stack: Callable[..., Stack]):
    # Given a server of two processes, and the counts of an earlier one
    stack = new_stack(GIFSTER_WEB__WORKERS="2")
    (stack.var / "metrics" / "999999").mkdir(parents=True)
    stack.start_web()
    assert [path.name for path in (stack.var / "metrics").iterdir()] != ["999999"]

    for _ in range(30):
        httpx.get(f"{stack.client.base_url}/api/gifs", headers={"Connection": "close"})
    stack.client.get("/api/gifs/none")
    stack.client.get("/nowhere")

    # I expect each of them to know all requests
    for _ in range(4):
        with httpx.Client(base_url=stack.client.base_url) as client:
            text = client.get("/metrics").text
        assert 'requests_total{method="GET",route="/api/gifs",status="200"} 30.0' in text
        assert 'requests_total{method="GET",route="/api/gifs/{gif_id}",status="404"} 1.0' in text
        assert 'requests_total{method="GET",route="other",status="404"} 1.0' in text
        assert 'request_seconds_count{method="GET",route="/api/gifs"} 30.0' in text


#: What the scheduler does every hour.
SWEEP = """
from gifster import jobs
from gifster.app import boot, settings
from gifster.app.database import db
boot.boot(settings.load())
with db.connection_context():
    jobs.enqueue("clean_up", unique="clean_up")
"""


def test_a_full_disk_ends_no_count(tmp_path: Path):
    # Given a disk with room for a page, and counts that need more
    folder = tmp_path / "disk"
    folder.mkdir()
    keys = [f"the requests of route {number}" for number in range(200)]
    with mounted(folder, "size=4k"):
        path = str(folder / "counter_1.db")
        counts = CountFile(path)
        for number, key in enumerate(keys):
            counts.write_value(key, number, 0.0)

        # I expect a file that can be read, and all counts in it once there is room
        assert 0 < len(list(CountFile.read_all_values_from_file(path))) < len(keys)
        subprocess.run(["mount", "-o", "remount,size=64k", str(folder)], check=True)
        counts.write_value(keys[0], 7.0, 0.0)
        found = {key.strip(): value for key, value, *_ in CountFile(path)._read_all_values()}
        assert found == {key: float(number or 7) for number, key in enumerate(keys)}
        counts.close()


def test_a_file_into_which_nothing_could_be_written_has_no_counts(tmp_path: Path):
    path = tmp_path / "counter_1.db"
    path.touch()

    assert list(CountFile.read_all_values_from_file(str(path))) == []
