"""A process loads the drivers that its database needs, and no others."""

import subprocess
import sys

import pytest

SHOW = """
import sys
from gifster.app.drivers import load_peewee
load_peewee(sys.argv[1])
from gifster import jobs
import peewee
print("psycopg" in sys.modules, peewee.psycopg is not None)
import psycopg
"""


@pytest.mark.parametrize(
    ("url", "shown"),
    [("sqlite:///var/gifster.db", "False False"), ("postgresql://x@y/z", "True True")],
)
def test_peewee_is_loaded_with_the_drivers_that_the_database_needs(url: str, shown: str):
    pytest.importorskip("psycopg")

    done = subprocess.run(
        [sys.executable, "-c", SHOW, url], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == shown
