"""A short form of `make chaos ARGS="--only nodes"`: several nodes in network namespaces, of which
some are cut off. It needs root, and the programs that such a cluster runs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from chaos import nodes
from chaos.databases import NotHere
from chaos.network import HUB_ADDRESS, Network
from chaos.services import Services
from tests.combinations import only_in_ci
from tests.machine import eventually


@pytest.mark.long
@only_in_ci("eight processes and a minute")
def test_the_jobs_of_a_worker_that_is_cut_off_are_soon_in_other_hands(tmp_path: Path):
    try:
        [verdict] = nodes.valkey(tmp_path, 40, 5, "a worker and a scheduler cut off")
    except NotHere as error:
        pytest.skip(str(error))

    assert verdict.sound, verdict
    assert verdict.accepted > 0
    assert verdict.recovery_s is not None


def test_a_network_can_be_cut_and_healed_and_leaves_nothing_behind():
    try:
        with Network(["web-0", "worker-0"]) as network:
            names = [network.hub, *map(network.namespace, network.nodes)]
            assert all(Path(f"/run/netns/{name}").exists() for name in names)
            with listening(network):
                eventually(lambda: reaches(network, "web-0"))
                network.cut("web-0", PORT)
                assert [reaches(network, name) for name in network.nodes] == [False, True]
                network.heal()
                network.cut("worker-0")
                assert [reaches(network, name) for name in network.nodes] == [True, False]
    except NotHere as error:
        pytest.skip(str(error))
    assert not any(Path(f"/run/netns/{name}").exists() for name in names)


#: A node that takes the lock of a quota, as an upload does, and then goes no further.
HOLDER = """
import sys, time
from gifster.app import postgresql
pool = postgresql.pool(sys.argv[1], durable=True, max_connections=1, wait_s=5)
pool.connect()
pool.begin()
pool.execute_sql("SELECT pg_advisory_xact_lock(1)")
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.long
def test_a_node_that_is_cut_off_within_a_transaction_does_not_hold_up_the_others(tmp_path: Path):
    # Given a node within a transaction that has a lock which others want
    try:
        with Network(["web-0"]) as network, Services(tmp_path / "services", network, None) as its:
            command = ["ip", "netns", "exec", network.namespace("web-0"), sys.executable, "-c",
                       HOLDER, its.database_url]  # fmt: skip
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "locked\n"

                # When no packet of it comes through any more
                network.cut("web-0")

                # I expect the server to give its lock to others; it would keep it for five minutes
                url = its.database_url.replace(HUB_ADDRESS, network.address)
                with psycopg.connect(url, autocommit=True) as other:
                    other.execute("SET lock_timeout = '60s'")
                    other.execute("SELECT pg_advisory_lock(1)")
                holder.kill()
    except NotHere as error:
        pytest.skip(str(error))


PORT = 9999


@contextmanager
def listening(network: Network) -> Iterator[None]:
    """A server on the hub."""
    code = f"import http.server as h; h.HTTPServer(('', {PORT}), None).serve_forever()"
    command = ["ip", "netns", "exec", network.hub, sys.executable, "-c", code]
    with subprocess.Popen(command) as server:
        yield
        server.kill()


def reaches(network: Network, node: str) -> bool:
    """Whether a node can connect to that server."""
    code = f"import socket; socket.create_connection(('{HUB_ADDRESS}', {PORT}), 0.5)"
    command = ["ip", "netns", "exec", network.namespace(node), sys.executable, "-c", code]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
