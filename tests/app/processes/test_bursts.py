"""Many uploads at once."""

import re
from collections.abc import Callable

from tests import images
from tests.stack import Stack

#: Enough pixels for a job of its own to complete it.
LARGE = images.still("PNG", (1000, 800))


def test_each_upload_of_a_burst_is_shown_before_any_is_completed(new_stack: Callable[..., Stack]):
    # Given more uploads of one person than may be with the broker at once
    stack = new_stack(GIFSTER_WORKER__MAX_JOBS_PER_USER="3")
    stack.start_web()
    ids = [stack.upload(LARGE, "a.png").json()["id"] for _ in range(6)]

    # When a worker comes that runs one job of a person at a time
    stack.start_worker()
    done = [stack.finished(gif_id) for gif_id in ids]

    # I expect all to be ready in the end, and that no preview was made before the last thumbnail
    assert [gif["state"] for gif in done] == ["ready"] * 6
    assert all({"preview", "thumb"} <= set(gif["versions"]) for gif in done)
    log = stack.log("dramatiq-gifster.actors")
    steps = re.findall(r" (shown|stored) table=gif id=(\w+)", log)
    assert [step for step, _ in steps] == ["shown"] * 6 + ["stored"] * 6
    assert {gif_id for _, gif_id in steps} == set(ids)
