"""What a line in /etc/hosts and a proxy on port 443 do for a client whose host is fixed:
connections to these hosts go to another port of this machine. Python imports it at its start."""

import json
import os
import socket

HOSTS = json.loads(os.environ["OVERRIDE_HOSTS"])
PORTS = {80: os.environ["PORT_OF_80"], 443: os.environ["PORT_OF_443"]}
resolve = socket.getaddrinfo


def overridden(host, port, *arguments, **options):
    if (host.decode() if isinstance(host, bytes) else host) in HOSTS:
        host, port = "127.0.0.1", int(PORTS[int(port)])
    return resolve(host, port, *arguments, **options)


socket.getaddrinfo = overridden
