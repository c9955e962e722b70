"""Whether the web server can listen where the settings say, before it starts."""

import socket
from collections.abc import Iterator

import pytest

from gifster.cli.ports import check_address
from gifster.cli.root import Refused


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as taken:
        yield taken


def port_of(server: socket.socket) -> int:
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server.getsockname()[1]


def test_a_free_port_can_be_used(listening: socket.socket):
    port = port_of(listening)
    listening.close()

    check_address("127.0.0.1", port)
    check_address("127.0.0.1", port, shared=True)


def test_a_port_of_another_program_is_refused_with_the_next_one(listening: socket.socket):
    port = port_of(listening)

    for shared in (False, True):
        with pytest.raises(Refused, match=f"port {port} cannot .*make dev PORT={port + 1}"):
            check_address("127.0.0.1", port, shared=shared)


def test_only_a_second_web_server_may_share_a_port(listening: socket.socket):
    if not hasattr(socket, "SO_REUSEPORT"):
        pytest.skip("this system has no SO_REUSEPORT")
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    port = port_of(listening)

    check_address("127.0.0.1", port, shared=True)
    with pytest.raises(Refused, match=f"port {port}"):
        check_address("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "2001:db8::1"])
def test_an_address_that_is_not_ours_is_named(host: str):
    with pytest.raises(Refused, match=f"the address {host} cannot be used .*GIFSTER_WEB__HOST"):
        check_address(host, 8000)
