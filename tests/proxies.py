"""Real proxies in front of a Gifster, as the files of `deploy/` configure them, with ports and
paths of their own."""

import grp
import os
import pwd
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.machine import eventually

DEPLOY = Path(__file__).parent.parent / "deploy"
NGINX, OPENSSL, CADDY, TRAEFIK = map(shutil.which, ("nginx", "openssl", "caddy", "traefik"))
#: The name that the files have.
HOST = "gifs.example.org"
#: The least that people write: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_pass.
BARE = """
user {user}; daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ }}
http {{
    access_log off; {temporary}
    server {{
        listen 127.0.0.1:{port};
        location {root}/ {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}
}}
"""


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text of a file of `deploy/` with other ports and paths; each of them must be in it."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def certificate(folder: Path) -> ssl.SSLContext:
    """Write `fullchain.pem` and `privkey.pem` for `HOST`. Returns what trusts them."""
    if OPENSSL is None:
        pytest.skip("no openssl is installed (on Debian: apt install openssl)")
    make = f"{OPENSSL} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    paths = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run([*make.split(), *names, *paths], check=True, capture_output=True)
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))


def temporary_paths(folder: Path) -> str:
    """nginx's directives for temporary files that it writes into the folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


@contextmanager
def nginx(folder: Path, text: str, port: int) -> Iterator[None]:
    """nginx with a configuration, until the block ends. Skips the test where there is none.

    Parameters:
      port: one on which it listens.
    """
    if NGINX is None:
        pytest.skip("no nginx is installed (on Debian: apt install nginx)")
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    with _running(command, folder, port):
        yield


@contextmanager
def bare_nginx(folder: Path, port: int, upstream: int, root: str = "") -> Iterator[None]:
    """nginx with nothing but a `proxy_pass`, which replaces the Host."""
    # Bodies that are not small go through its files.
    user = f"{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}"
    text = BARE.format(
        folder=folder,
        temporary=temporary_paths(folder),
        port=port,
        upstream=upstream,
        root=root,
        user=user,
    )
    with nginx(folder, text, port):
        yield


@contextmanager
def caddy(folder: Path, text: str, port: int) -> Iterator[None]:
    """Caddy, likewise."""
    if CADDY is None:
        pytest.skip("no caddy is installed (on Debian: apt install caddy)")
    (folder / "Caddyfile").write_text(text)
    command = [CADDY, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    with _running(command, folder, port):
        yield


@contextmanager
def traefik(folder: Path, static: str, port: int) -> Iterator[None]:
    """Traefik, likewise.

    Parameters:
      static: the text of `traefik.yml`.
    """
    if TRAEFIK is None:
        pytest.skip("no traefik is installed")
    (folder / "traefik.yml").write_text(static)
    with _running([TRAEFIK, "--configfile", str(folder / "traefik.yml")], folder, port):
        yield


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: process.poll() is None and listens(port))
        yield
    finally:
        process.terminate()
        process.wait()
