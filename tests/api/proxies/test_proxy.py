"""The proxies of `deploy/`, in front of a real Gifster: forms, uploads and streams work through
them, and many half-open heads keep nobody waiting. `deploy/nftables.conf`: the kernel takes it, and
counts."""

import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests import images, proxies
from tests.machine import eventually, free_port
from tests.proxies import DEPLOY, HOST
from tests.stack import Stack
from tests.tus import CONTENT, VERSION

PORT = free_port()

TOKEN = "a-token-of-prometheus-alone-0123456789"
WEB = {
    "GIFSTER_WEB__METRICS_TOKEN": TOKEN,
    "GIFSTER_WEB__PUBLIC_URL": f"https://{HOST}:{PORT}",
    "GIFSTER_LIMITS__ENABLED": "true",
    "GIFSTER_LIMITS__SIGN_UP": "3/hour",
    "GIFSTER_LIMITS__LOG_IN_ACCOUNT": "3/hour",
    "GIFSTER_LIMITS__WAITING": "3",
    "GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.1"]',
}


@pytest.fixture(scope="module")
def proxy(web: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of nginx, as it is configured in `deploy/`, with ports and paths of its own."""
    folder = tmp_path_factory.mktemp("nginx")
    trust = proxies.certificate(folder)
    text = proxies.changed(
        (DEPLOY / "nginx.conf").read_text(),
        {
            "user www-data;": "daemon off;",
            "worker_processes auto": "worker_processes 1",
            "/run/nginx.pid": f"{folder}/pid",
            "/var/log/nginx": str(folder),
            "http {\n": f"http {{ {proxies.temporary_paths(folder)}\n",
            "/etc/ssl/gifster": str(folder),
            "127.0.0.1:8000": f"127.0.0.1:{web.port}",
            "listen 80": f"listen 127.0.0.1:{free_port()}",
            "listen 443": f"listen 127.0.0.1:{PORT}",
            "listen [::]:80": f"listen 127.0.0.1:{free_port()}",
            "listen [::]:443": f"listen 127.0.0.1:{free_port()}",
        },
    )
    with (
        proxies.nginx(folder, text, PORT),
        httpx.Client(
            base_url=f"https://127.0.0.1:{PORT}",
            headers={"Host": f"{HOST}:{PORT}"},
            verify=trust,
        ) as client,
    ):
        client.log, client.trust = folder / "access.log", trust
        yield client


def get(proxy: httpx.Client, path: str, **options: object) -> httpx.Response:
    return proxy.get(path, extensions={"sni_hostname": HOST}, **options)


def post(proxy: httpx.Client, path: str, **options: object) -> httpx.Response:
    return proxy.post(path, extensions={"sni_hostname": HOST}, **options)


def test_a_form_works_through_the_proxy(proxy: httpx.Client):
    # As a browser sends it, with the address of its address bar
    origin = f"https://{proxy.headers['Host']}"
    form = {"email": "ann@example.org", "password": "correct horse", "name": "Ann"}

    page = post(proxy, "/signup", data=form, headers={"Origin": origin, "Accept": "text/html"})

    assert page.status_code == 303, page.text
    assert "secure" in page.headers["Set-Cookie"].lower()
    foreign = post(proxy, "/signup", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_a_clients_own_address_header_is_ignored(proxy: httpx.Client):
    for number in range(4):
        said = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}
        body = {"email": f"bob{number}@example.org", "password": "correct horse"}
        answer = post(proxy, "/api/users", json=body, headers=said)

    assert answer.status_code == 429


def test_an_upload_works_through_the_proxy(proxy: httpx.Client):
    answer = post(proxy, "/api/gifs", files={"image": ("a.gif", images.gif(), "image/gif")})

    assert answer.status_code == 202
    assert answer.headers["Location"].endswith(answer.json()["id"])


def test_an_upload_goes_on_through_the_proxy(proxy: httpx.Client):
    goes_on_through(proxy)


def test_a_stream_comes_through_at_once(proxy: httpx.Client):
    url = "/events?gif=nope"
    with proxy.stream("GET", url, extensions={"sni_hostname": HOST}) as stream:
        assert "nope" in next(line for line in stream.iter_lines() if line.startswith("data: "))


def test_long_heads_end_at_the_proxy_or_at_gifster(proxy: httpx.Client):
    # nginx has a status of its own for them, and sends a 400
    assert get(proxy, "/", headers={"X": "a" * 9_000}).status_code == 400
    answer = get(proxy, "/", headers={f"X-{number}": "a" * 3_000 for number in range(3)})
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_long")


def test_the_metrics_are_not_public(proxy: httpx.Client):
    # From here; the proxy is here, too, so Gifster asks for the token
    assert get(proxy, "/metrics").json()["code"] == "metrics_closed"
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert get(proxy, "/metrics", headers=token).status_code == 200


def test_prometheus_reads_the_metrics_from_elsewhere_with_the_token(proxy: httpx.Client):
    # As deploy/prometheus/prometheus.yml asks, from another address than the proxy's
    url = proxy.base_url.join("/metrics")
    with httpx.Client(
        transport=httpx.HTTPTransport(verify=proxy.trust, local_address="127.0.0.2"),
        headers={"Host": proxy.headers["Host"]},
    ) as elsewhere:
        answer = elsewhere.get(
            url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            extensions={"sni_hostname": HOST},
        )

    assert answer.status_code == 200


def test_another_host_is_not_served(proxy: httpx.Client):
    address = ("127.0.0.1", proxy.base_url.port)
    with socket.create_connection(address) as plain, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="evil.example")

    # Even if the handshake named ours
    with pytest.raises(httpx.RemoteProtocolError):
        get(proxy, "/", headers={"Host": "evil.example"})


def test_half_open_heads_delay_nobody(proxy: httpx.Client):
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with ExitStack() as opened:
        # Given hundreds of silent connections, and some with half a head within TLS
        for number in range(600):
            address = ("127.0.0.1", proxy.base_url.port)
            plain = opened.enter_context(socket.create_connection(address))
            if number % 20 == 0:
                half = opened.enter_context(trust.wrap_socket(plain, server_hostname=HOST))
                half.sendall(b"GET / HTTP/1.1\r\nHost: " + HOST.encode())

        # I expect them not to reach Gifster
        assert get(proxy, "/api/gifs").status_code == 200


@pytest.fixture
def caddy(web: Stack, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of Caddy, as it is configured in `deploy/`, without TLS and with a port of its
    own."""
    port = free_port()
    text = proxies.changed(
        (DEPLOY / "Caddyfile").read_text(),
        {
            "gifs.example.org {": f"http://127.0.0.1:{port} {{",
            "127.0.0.1:8000": f"127.0.0.1:{web.port}",
            "{\n\tservers": "{\n\tadmin off\n\tservers",
        },
    )
    with (
        proxies.caddy(tmp_path, text, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


@pytest.fixture
def traefik(web: Stack, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of Traefik, as it is configured in `deploy/`, without TLS and with ports of its
    own."""
    port, files = free_port(), DEPLOY / "traefik"
    dynamic = proxies.changed(
        (files / "gifster.yml").read_text(),
        {HOST: "127.0.0.1", "http://127.0.0.1:8000": f"http://127.0.0.1:{web.port}"},
    )
    (tmp_path / "gifster.yml").write_text(dynamic)
    static = proxies.changed(
        (files / "traefik.yml").read_text(),
        {
            '":80"': f'"127.0.0.1:{free_port()}"',
            '":443"': f'"127.0.0.1:{port}"',
            "      tls: {certResolver: letsencrypt}\n": "",
            "/etc/traefik": str(tmp_path),
        },
    )
    # Its authority would be asked for a certificate.
    static = re.sub(r"certificatesResolvers:\n(?:  .*\n)+", "", static)
    with (
        proxies.traefik(tmp_path, static, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        eventually(lambda: client.get("/healthz").status_code == 200)
        yield client


def goes_on_through(proxy: httpx.Client) -> None:
    """What a client sent before its connection was lost is kept: the proxy passes it on at once."""

    def tus(method: str, path: str, **options: object) -> httpx.Response:
        return proxy.request(method, path, extensions={"sni_hostname": HOST}, **options)

    content = images.gif((300, 200))
    asked = {**VERSION, "Upload-Length": str(len(content)), "Upload-Metadata": "filename YS5naWY="}
    path = tus("POST", "/api/uploads", headers=asked).headers["Location"]
    chunk = {**VERSION, "Content-Type": CONTENT, "Upload-Offset": "0"}

    def offset() -> int:
        return int(tus("HEAD", path, headers=VERSION).headers["Upload-Offset"])

    def lost() -> Iterator[bytes]:
        # A proxy drops what it has not passed on when a client leaves. Each answer means that it
        # went through its loop.
        yield content[:3000]
        offset()
        yield content[3000:4000]
        offset()
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        length = {"Content-Length": str(len(content))}
        tus("PATCH", path, headers=chunk | length, content=lost())

    kept = eventually(offset)
    assert kept in (3000, 4000)
    rest = chunk | {"Upload-Offset": str(kept)}
    assert tus("PATCH", path, headers=rest, content=content[kept:]).status_code == 204


def works_through(proxy: httpx.Client) -> None:
    """Forms, uploads, streams; and that clients cannot forge their address."""
    form = {"email": "eve@example.org", "password": "correct horse", "name": "Eve"}
    origin = str(proxy.base_url).rstrip("/")

    # There is no such account, but the form is ours
    ours = proxy.post("/login", data=form, headers={"Origin": origin})
    assert "The address or the password is wrong." in ours.text
    foreign = proxy.post("/login", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.json()["code"] == "cross_site"
    answer = proxy.post("/api/gifs", files={"image": ("a.gif", images.gif(), "image/gif")})
    assert answer.status_code == 202
    with proxy.stream("GET", "/events?gif=nope") as stream:
        assert "nope" in next(line for line in stream.iter_lines() if line.startswith("data: "))
    statuses = []
    account = {"email": f"mallory{proxy.base_url.port}@example.org", "password": "guessed"}
    for number in range(4):
        said = {"X-Forwarded-For": f"192.0.2.{number}", "X-Real-IP": f"192.0.2.{number}"}
        statuses.append(proxy.post("/login", data=account, headers=said).status_code)
    assert statuses[-1] == 429


def test_caddy_does_too(caddy: httpx.Client):
    works_through(caddy)
    goes_on_through(caddy)


def test_traefik_does_too(traefik: httpx.Client):
    works_through(traefik)
    goes_on_through(traefik)


def test_an_address_has_a_number_of_connections(tmp_path: Path):
    # In a network of its own, in which only this test is
    alone = ["unshare", "--net", "--map-root-user"] if os.geteuid() else ["unshare", "--net"]
    program = """
import socket
server = socket.create_server(("127.0.0.1", 443), backlog=500)
opened = []
for number in range(150):
    client = socket.socket()
    client.settimeout(1)
    if client.connect_ex(("127.0.0.1", 443)) == 0:
        opened.append(client)
print(len(opened))
"""
    (tmp_path / "count.py").write_text(program)
    rules = f"ip link set lo up && nft -f {DEPLOY / 'nftables.conf'}"
    if subprocess.run([*alone, "sh", "-c", rules], capture_output=True, check=False).returncode:
        pytest.skip(
            "no nft, or no network of its own to try it in (on Debian: apt install nftables)"
        )
    script = f"{rules} && {sys.executable} {tmp_path}/count.py"
    told = subprocess.run([*alone, "sh", "-c", script], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "100"


def test_the_log_has_neither_queries_nor_the_secrets_of_links_in_mails(proxy: httpx.Client):
    for kind in ("password", "confirm", "invitation"):
        get(proxy, f"/{kind}/s3cret?key=s3cret")
    get(proxy, "/gifs?q=s3cret")

    log = eventually(lambda: "/gifs " in (text := proxy.log.read_text()) and text)
    assert "s3cret" not in log
    for kind in ("password", "confirm", "invitation"):
        assert f'"GET /{kind}/... HTTP/' in log
