"""A short form of `make chaos ARGS="--only nodes"`: several nodes in network namespaces, of which
some are cut off. It needs root, and the programs that such a cluster runs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos import nodes
from chaos.databases import NotHere
from chaos.network import HUB_ADDRESS, Network
from tests.machine import ALL_EXAMPLES, eventually


@pytest.mark.long
@pytest.mark.skipif(not ALL_EXAMPLES, reason="eight processes and a minute: with CI=true only")
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
