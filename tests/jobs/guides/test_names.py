"""Former public names: they work for one release, and say what to write instead."""

import pytest

from gifster import jobs
from tests.jobs.offers import offer


@pytest.mark.parametrize(
    ("former", "now"), [("Share", jobs.QueueWeight), ("Tally", jobs.ActorStats)]
)
def test_a_former_name_works_and_says_what_to_write(former: str, now: type):
    with pytest.warns(DeprecationWarning, match=rf"jobs\.{former} .* jobs\.{now.__name__}"):
        assert getattr(jobs, former) is now


def test_the_former_option_of_connect_works_and_says_what_to_write(broker_url: str):
    weights = {"default": jobs.QueueWeight(1, max=2)}
    with pytest.warns(DeprecationWarning, match="write weights="):
        broker = jobs.connect(broker_url, shares=weights)

    broker.emit_before("worker_boot", type("Worker", (), {"worker_threads": 4}))
    offer(broker.scheduler, "default", 3)
    assert [broker.scheduler.next(0) is not None for _ in range(3)] == [True, True, False]


def test_the_table_of_the_stats_keeps_its_name():
    assert jobs.ActorStats._meta.table_name == "tally"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Shares'"):
        jobs.Shares  # noqa: B018
