"""Rate limits and quotas: too often is a 429 that says when to come again, too much a 403."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from gifster import accounts, library
from gifster.api.limits import RateLimited, RateLimits, client_network
from gifster.database import db
from gifster.models import Gif, ImageUploader, User
from gifster.settings import Limits, Settings
from gifster.uploads import CachedFile
from gifster.uploads.cache import CacheWriter
from tests import images
from tests.stack import Stack, files_below, free_port

GIF = images.gif()

WEB = {
    "GIFSTER_LIMITS__ENABLED": "true",
    "GIFSTER_LIMITS__UPLOAD": "4/hour",
    "GIFSTER_LIMITS__SIGN_UP": "2/hour",
    "GIFSTER_LIMITS__LOG_IN": "3/hour",
    "GIFSTER_LIMITS__GIFS_PER_USER": "3",
    "GIFSTER_LIMITS__BYTES_PER_USER": "400000",
    # So that each test can come from an address of its own.
    "GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.0/8"]',
}


@pytest.fixture(autouse=True)
def _nobody_is_signed_in(request: pytest.FixtureRequest) -> None:
    if "web" in request.fixturenames:
        request.getfixturevalue("web").client.cookies.clear()


def from_(address: str, **headers: str) -> dict[str, str]:
    return {"X-Forwarded-For": address, **headers}


def upload(web: Stack, headers: dict[str, str], content: bytes = GIF):
    return web.client.post("/api/gifs", files={"image": content}, headers=headers)


def sign_up(web: Stack, address: str) -> dict[str, str]:
    body = {"email": f"{address}@example.org", "password": "correct horse"}
    answer = web.client.post("/api/users", json=body, headers=from_(address))
    assert answer.status_code == 201
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def refused(answer, code: str = "rate_limited", status: int = 429) -> bool:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if status == 429:
        assert 1 <= int(answer.headers["retry-after"]) <= 2 * 3600
    return True


def test_uploads_are_limited_by_address(web: Stack):
    broken = [upload(web, from_("203.0.113.1"), b"no image").status_code for _ in range(4)]

    assert broken == [415] * 4
    assert refused(upload(web, from_("203.0.113.1")))
    assert upload(web, from_("203.0.113.2"), b"no image").status_code == 415


def test_uploads_are_limited_by_user_wherever_they_come_from(web: Stack):
    ann = sign_up(web, "198.51.100.1")

    for number in range(4):
        upload(web, from_(f"198.51.100.{10 + number}") | ann, b"no image")

    assert refused(upload(web, from_("198.51.100.20") | ann))
    gif = web.client.put("/api/gifs/nope/image", files={"image": GIF}, headers=ann)
    assert refused(gif)


def test_sign_ups_are_limited_by_address(web: Stack):
    for _ in range(2):
        web.client.post("/api/users", json={}, headers=from_("203.0.113.5"))

    assert refused(web.client.post("/api/users", json={}, headers=from_("203.0.113.5")))
    page = web.client.post("/signup", data={"email": "a"}, headers=from_("203.0.113.5"))
    assert page.status_code == 429
    assert page.headers["retry-after"]
    assert "Too many sign-ups for now" in page.text


def test_log_ins_are_limited_by_account_until_one_succeeds(web: Stack):
    sign_up(web, "203.0.113.7")
    name = "203.0.113.7@example.org"

    def log_in(address: str, password: str) -> int:
        form = {"email": name, "password": password}
        return web.client.post("/login", data=form, headers=from_(address)).status_code

    # Somebody guesses, from many addresses
    assert [log_in(f"203.0.113.{n}", "wrong horse") for n in (20, 21)] == [403, 403]
    # A good one is counted, too, and forgives the others
    assert log_in("203.0.113.22", "correct horse") == 303
    assert [log_in(f"203.0.113.{n}", "wrong horse") for n in (23, 24, 25)] == [403] * 3
    assert log_in("203.0.113.26", "correct horse") == 429


def test_log_ins_are_limited_by_address(web: Stack):
    def log_in(name: str):
        form = {"email": name, "password": "wrong horse"}
        return web.client.post("/login", data=form, headers=from_("203.0.113.30")).status_code

    assert [log_in(f"{n}@example.org") for n in range(4)] == [403, 403, 403, 429]


def test_a_quota_is_refused_before_the_body_is_read_and_nothing_is_left(web: Stack):
    ben = sign_up(web, "203.0.113.40")
    before = files_below(web.var / "cache")

    # A body that says it is too large is not read at all
    answer = upload(web, from_("203.0.113.41") | ben, bytes(500_000))
    assert refused(answer, "quota_exceeded", 403)

    # One that does not say is refused after it
    def chunks():
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        yield head + GIF + bytes(410_000) + b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = web.client.post(
        "/api/gifs", content=chunks(), headers=from_("203.0.113.42") | ben | kind
    )
    assert refused(answer, "quota_exceeded", 403)
    assert files_below(web.var / "cache") == before


def test_the_page_says_that_a_quota_is_used_up(web: Stack):
    cid = sign_up(web, "203.0.113.49")
    codes = [upload(web, from_(f"203.0.113.{50 + n}") | cid).status_code for n in range(3)]

    page = web.client.post(
        "/gifs", files={"image": GIF},
        headers=from_("203.0.113.54", Accept="text/html", **{"Sec-Fetch-Mode": "navigate"}) | cid,
    )  # fmt: skip

    assert codes == [202] * 3
    assert page.status_code == 403
    assert "3 GIFs is all there is room for here." in page.text


def test_behind_no_proxy_nobody_is_believed_who_somebody_else_is():
    assert client_network(["10.9.9.9", "203.0.113.1"], []) == "203.0.113.1"


def test_behind_proxies_the_last_address_that_is_none_of_theirs_counts():
    proxies = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]

    assert client_network(["1.1.1.1", "2.2.2.2", "10.0.0.1", "10.0.0.2"], proxies) == "2.2.2.2"
    assert client_network(["2001:db8::1:2:3:4", "fd00::1"], proxies) == "2001:db8::/64"
    assert client_network(["::ffff:2.2.2.2", "10.0.0.1"], proxies) == "2.2.2.2"
    assert client_network(["a lie", "10.0.0.1"], proxies) == "10.0.0.1"


@dataclass
class Request:
    access_route: list[str] = field(default_factory=lambda: ["192.0.2.1"])


def test_while_redis_is_away_each_process_counts_for_itself():
    settings = Settings(limits=Limits(sign_up="2/hour"))
    limits = RateLimits(settings, f"redis://127.0.0.1:{free_port()}/0")

    limits.sign_up(Request())
    limits.sign_up(Request())

    with pytest.raises(RateLimited, match="Too many sign-ups for now"):
        limits.sign_up(Request())


def cached() -> CachedFile:
    writer = CacheWriter(ImageUploader, "a.gif")
    writer.write(GIF)
    return writer.finish()


def test_uploads_at_once_cannot_share_the_last_place(booted: Settings):
    ann = accounts.sign_up("ann@example.org", "correct horse")
    quota = library.Quota(gifs=3, bytes=10**9)
    files = [cached() for _ in range(8)]

    def add(file: CachedFile) -> bool:
        with db.connection_context():
            try:
                library.add_gif(file, user=ann, quota=quota)
            except library.Denied:
                return False
            return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(add, files)) == 3
    assert Gif.select().where(Gif.user == ann).count() == 3


@pytest.mark.parametrize("owner", ["ann", "nobody"])
def test_a_quota_counts_bytes_and_a_replacement_the_difference(booted: Settings, owner: str):
    user: User | None = None
    if owner == "ann":
        user = accounts.sign_up("ann@example.org", "correct horse")
    quota = library.Quota(gifs=10, bytes=2 * len(GIF) + 10)
    gif = library.add_gif(cached(), user=user, quota=quota)
    library.add_gif(cached(), user=user, quota=quota)

    with pytest.raises(library.Denied, match="Delete something first") as refusal:
        library.add_gif(cached(), user=user, quota=quota)
    library.replace_image(gif.id, user, cached(), quota)
    library.delete_gif(gif.id, user)

    assert refusal.value.code == "quota_exceeded"
    assert library.add_gif(cached(), user=user, quota=quota).bytes == len(GIF)
