"""What must hold over all nodes of a cluster: events reach a page that another node serves, a pause
stops every worker, and rates and quotas count what all web servers take."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from chaos.cluster import ROLES, Cluster
from tests import images
from tests.machine import eventually

#: The rate of searches that `RATES` sets, and how many files of a user's quota are left.
MOST_SEARCHES, LEFT = 5, 4
QUOTA_BYTES = 5 * 1024**3
#: Rates that the stream of uploads does not reach, and one that the check does.
RATES = {
    "GIFSTER_LIMITS__ENABLED": "true",
    "GIFSTER_LIMITS__UPLOAD": "1000000/hour",
    "GIFSTER_LIMITS__EDIT": "1000000/hour",
    "GIFSTER_LIMITS__SIGN_UP": "1000000/hour",
    "GIFSTER_LIMITS__SEARCH": f"{MOST_SEARCHES}/hour",
    "GIFSTER_LIMITS__GIFS_PER_USER": "1000000",
    "GIFSTER_LIMITS__BYTES_PER_USER": str(QUOTA_BYTES),
}
#: Longer than workers take to read their orders (seconds).
OBEYED_S = 5.0

WEBS = [f"web-{number}" for number in range(ROLES["web"])]


def events(site: Cluster) -> None:
    """A page of one node hears that an upload to another is ready."""
    with site.on("web-0") as sender, site.on("web-1") as server:
        gif_id = _upload(sender).json()["id"]
        states = []
        with server.stream("GET", "/events", params={"gif": gif_id}, timeout=30) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    states.append(json.loads(line.removeprefix("data:"))["state"])
                    if states[-1] in ("ready", "failed"):
                        break
    assert states[-1] == "ready", f"the other node told {states}"


def pauses(site: Cluster) -> None:
    """No worker of any node begins a job of a queue that is paused."""
    site.stack.run("gifster", "jobs", "pause", "carrierwave")
    time.sleep(OBEYED_S)
    with site.client() as client:
        ids = [_upload(client).json()["id"] for _ in range(8)]
        time.sleep(OBEYED_S)
        states = {client.get(f"/api/gifs/{gif_id}").json()["state"] for gif_id in ids}
        site.stack.run("gifster", "jobs", "resume", "carrierwave")
        assert states == {"queued"}, f"while the queue was paused, GIFs became {states}"
        for gif_id in ids:
            url = f"/api/gifs/{gif_id}"
            eventually(lambda url=url: client.get(url).json()["state"] == "ready", within=60)


def rates(site: Cluster) -> None:
    """All web servers together let one address search as often as the settings say."""
    # Each run of the check comes from an address of its own.
    address = f"203.0.113.{int(time.time()) % 250 + 1}"
    statuses = []
    for number in range(MOST_SEARCHES * len(WEBS)):
        with site.on(WEBS[number % len(WEBS)]) as client:
            asked = client.get(
                "/v2/search", params={"q": "cat"}, headers={"X-Forwarded-For": address}
            )
            statuses.append(asked.status_code)
    assert statuses.count(200) == MOST_SEARCHES, f"the servers answered {statuses}"


def quotas(site: Cluster) -> None:
    """Uploads to all web servers at once do not exceed their user's quota."""
    content = images.gif((120, 90))
    with site.client() as client:
        body = {"email": f"{time.time_ns()}@example.org", "password": "correct horse"}
        user = client.post("/api/users", json=body).json()
        token = {"Authorization": f"Bearer {user['token']}"}
        first = _upload(client, content, token).json()["id"]
        url = f"/api/gifs/{first}"
        eventually(lambda: client.get(url, headers=token).json()["state"] == "ready", within=60)
    used = QUOTA_BYTES - LEFT * len(content)
    site.services.query(f"UPDATE gif SET bytes = {used} WHERE id = '{first}' RETURNING id")
    together = threading.Barrier(4 * len(WEBS))

    def upload(number: int) -> int:
        with site.on(WEBS[number % len(WEBS)]) as client:
            together.wait(30)
            return _upload(client, content, token).status_code

    with ThreadPoolExecutor(4 * len(WEBS)) as clients:
        statuses = list(clients.map(upload, range(4 * len(WEBS))))
    assert statuses.count(202) == LEFT, f"the servers answered {statuses}"
    assert set(statuses) == {202, 403}, f"the servers answered {statuses}"


CHECKS: list[Callable[[Cluster], None]] = [events, pauses, rates, quotas]


def wrong(site: Cluster) -> list[str]:
    """What does not hold, a line for each check."""
    found = []
    for check in CHECKS:
        try:
            check(site)
        except (AssertionError, httpx.HTTPError, KeyError) as error:
            found.append(f"{check.__name__}: {error!r}")
    return found


def _upload(
    client: httpx.Client, content: bytes | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    files = {"image": ("a.gif", content or images.gif((200, 150)), "image/gif")}
    return client.post("/api/gifs", files=files, headers=headers)
