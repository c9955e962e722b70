"""A process loads what it needs to start, such as the driver of its database, and nothing else."""

import subprocess
import sys
from pathlib import Path

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


#: What each process loads when it starts, and what it does not need for that. A new import of one
#: of these belongs into the function that uses it.
STARTS = {
    "gifster.actors": (
        "import gifster.actors",
        "jinja2 smtplib argon2 email_validator webauthn joserfc http.client opentelemetry boto3 "
        "botocore fsspec pika psycopg falcon granian prometheus_client limits apscheduler rich "
        "httpx playhouse.migrations",
    ),
    "gifster.api": (
        "from gifster.api.process import build; build()",
        "authlib requests pyotp segno webauthn joserfc opentelemetry boto3 botocore fsspec pika "
        "psycopg granian apscheduler rich httpx playhouse.migrations",
    ),
    "gifster": (
        "from gifster.cli import main",
        "jinja2 peewee dramatiq pydantic PIL redis falcon granian opentelemetry",
    ),
}


@pytest.mark.parametrize("process", STARTS)
def test_a_process_loads_nothing_that_it_does_not_need_to_start(process: str, tmp_path: Path):
    start, needless = STARTS[process]
    environment = {"GIFSTER_BROKER__URL": "redis://127.0.0.1:1/0", "PATH": ""}
    (tmp_path / "settings.toml").touch()

    script = f"{start}\nimport os, sys\nprint(*sys.modules.keys() & {set(needless.split())})"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nsys.stdout.flush(); os._exit(0)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.split() == []
