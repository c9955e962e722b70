"""A network of nodes on one machine, in which a node can be cut off.

Each node is a network namespace with a wire of its own to the hub, where the services run. What is
cut is dropped where it arrives, on both ends, so that nobody gets an error: no packet comes
through, as with a pulled cable or a firewall. It needs root, `ip` and `nft`.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from chaos.databases import NotHere

#: Where all nodes find the services.
HUB_ADDRESS = "10.99.0.1"
_TABLE = "cut"


class Network:
    """A hub and some nodes. The machine itself reaches the hub at `address`.

    Parameters:
      nodes: their names, of at most 15 characters.

    Raises:
      NotHere: this machine does not let us make one; says why.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        if os.geteuid() != 0:
            raise NotHere("network namespaces need root")
        for tool in ("ip", "nft"):
            if shutil.which(tool) is None:
                raise NotHere(f"{tool} is not installed")
        self.nodes = list(nodes)
        self._mark = f"gifster-{os.getpid()}"
        self._numbers = {name: number for number, name in enumerate(nodes, 1)}
        self._client = f"gc{os.getpid()}"
        third = os.getpid() % 250
        self.address, client_address = f"10.213.{third}.1", f"10.213.{third}.2"
        try:
            self._add(self.hub)
            _ip("link", "add", self._client, "type", "veth", "peer", "client", "netns", self.hub)
            self._up(self.hub, "client", f"{self.address}/30")
            _ip("address", "add", f"{client_address}/30", "dev", self._client)
            _ip("link", "set", self._client, "up")
            self._in(self.hub, "address", "add", f"{HUB_ADDRESS}/32", "dev", "lo")
            for name in nodes:
                self._add_node(name)
            self.heal()
        except (OSError, subprocess.CalledProcessError) as error:
            self.remove()
            said = getattr(error, "stderr", "") or str(error)
            raise NotHere(f"no network namespaces: {said.strip()}") from None

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def hub(self) -> str:
        """The namespace of the services."""
        return f"{self._mark}-hub"

    def namespace(self, node: str) -> str:
        """The namespace of a node."""
        return f"{self._mark}-{node}"

    def address_of(self, node: str) -> str:
        """The address of a node, as the hub sees it."""
        return f"10.99.{self._numbers[node]}.2"

    def cut(self, node: str, *ports: int) -> None:
        """Drop everything between a node and the hub.

        Parameters:
          ports: of the services that the node is cut off from; none means all, and that no service
            reaches the node either.
        """
        if ports:
            listed = ", ".join(map(str, ports))
            to_hub, from_hub = f"tcp dport {{ {listed} }}", f"tcp sport {{ {listed} }}"
        else:
            to_hub = from_hub = ""
        self._drop(self.hub, f'iifname "{node}" {to_hub}')
        self._drop(self.namespace(node), f'iifname "hub" {from_hub}')

    def heal(self) -> None:
        """Let everything through again."""
        chain = "type filter hook prerouting priority -300"
        empty = f"table inet {_TABLE}\ndelete table inet {_TABLE}\ntable inet {_TABLE} {{\n" + (
            f"chain cut {{ {chain}; policy accept; }}\n}}\n"
        )
        for namespace in [self.hub, *map(self.namespace, self._numbers)]:
            _run("ip", "netns", "exec", namespace, "nft", "-f", "-", given=empty)

    def remove(self) -> None:
        """Remove all namespaces, with their wires and whatever still runs in them."""
        with suppress(OSError, subprocess.CalledProcessError):
            _ip("link", "delete", self._client)
        for namespace in [self.hub, *map(self.namespace, self._numbers)]:
            with suppress(OSError, subprocess.CalledProcessError):
                for pid in _run("ip", "netns", "pids", namespace).split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                _ip("netns", "delete", namespace)

    def _add_node(self, name: str) -> None:
        node, number = self.namespace(name), self._numbers[name]
        self._add(node)
        _ip("link", "add", name, "netns", self.hub, "type", "veth", "peer", "hub", "netns", node)
        self._up(self.hub, name, f"10.99.{number}.1/30")
        self._up(node, "hub", f"10.99.{number}.2/30")
        self._in(node, "route", "add", "default", "via", f"10.99.{number}.1")

    def _add(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._in(namespace, "link", "set", "lo", "up")

    def _up(self, namespace: str, link: str, address: str) -> None:
        self._in(namespace, "address", "add", address, "dev", link)
        self._in(namespace, "link", "set", link, "up")

    def _in(self, namespace: str, *words: str) -> None:
        _run("ip", "-netns", namespace, *words)

    def _drop(self, namespace: str, what: str) -> None:
        rule = f"add rule inet {_TABLE} cut {what} drop\n"
        _run("ip", "netns", "exec", namespace, "nft", "-f", "-", given=rule)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str, given: str | None = None) -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=True)
    return done.stdout
