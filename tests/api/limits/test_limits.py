"""Rate limits are a 429 that says when to try again; quotas are a 403."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from gifster.api.limits import RateLimited, RateLimits
from gifster.app import accounts, library
from gifster.app.models import User
from gifster.app.settings import Limits, Settings
from tests import images
from tests.app.gifs import SMALL, added, cached
from tests.machine import files_below, free_port
from tests.stack import Stack

GIF = images.gif()

WEB = {
    "GIFSTER_LIMITS__ENABLED": "true",
    "GIFSTER_LIMITS__UPLOAD": "4/hour",
    "GIFSTER_LIMITS__SIGN_UP": "2/hour",
    "GIFSTER_LIMITS__LOG_IN": "4/hour",
    "GIFSTER_LIMITS__LOG_IN_ACCOUNT": "2/hour",
    "GIFSTER_LIMITS__LOG_IN_ACCOUNT_EVERYWHERE": "6/hour",
    "GIFSTER_LIMITS__EDIT": "3/hour",
    "GIFSTER_LIMITS__GIFS_PER_USER": "3",
    "GIFSTER_LIMITS__BYTES_PER_USER": "400000",
    # So that each test can come from an address of its own.
    "GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.0/8"]',
}


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(request: pytest.FixtureRequest) -> None:
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


def log_in(web: Stack, address: str, name: str, password: str = "wrong horse", **headers: str):
    form = {"email": name, "password": password}
    headers = from_(address, **headers)
    answer = web.client.post("/login", data=form, headers=headers)
    web.client.cookies.clear()
    return answer


def device(answer) -> dict[str, str]:
    """The device cookie of a browser that has logged in."""
    return {"Cookie": f"gifster_device={answer.cookies['gifster_device']}"}


def test_log_ins_are_limited_by_address(web: Stack):
    names = [f"{number}@example.org" for number in range(5)]

    codes = [log_in(web, "203.0.113.30", name).status_code for name in names]

    assert codes == [403] * 4 + [429]
    # A success with one's own account does not allow more attempts for other accounts
    sign_up(web, "203.0.113.31")
    mine = ("203.0.113.31", "203.0.113.31@example.org", "correct horse")
    assert log_in(web, *mine).status_code == 303
    codes = [log_in(web, "203.0.113.31", name).status_code for name in names]
    assert codes == [403] * 3 + [429] * 2


def test_an_account_is_limited_more_strictly_at_each_address_until_a_log_in_succeeds(web: Stack):
    sign_up(web, "203.0.113.7")
    name = "203.0.113.7@example.org"

    assert log_in(web, "203.0.113.8", name).status_code == 403
    assert log_in(web, "203.0.113.8", name, "correct horse").status_code == 303
    # A success counts, too, and forgives the attempts of its own address
    codes = [log_in(web, "203.0.113.8", name).status_code for _ in range(2)]
    assert codes == [403, 403]
    sign_up(web, "203.0.113.9")
    other = "203.0.113.9@example.org"
    codes = [log_in(web, "203.0.113.10", other).status_code for _ in range(3)]
    assert codes == [403, 403, 429]
    # The same account elsewhere, and another account here, are not limited
    assert log_in(web, "203.0.113.11", other).status_code == 403
    assert log_in(web, "203.0.113.10", "third@example.org").status_code == 403


def test_strangers_cannot_lock_a_person_out(web: Stack):
    # Given a person who has logged in with this browser
    sign_up(web, "203.0.113.90")
    name = "203.0.113.90@example.org"
    browser = device(log_in(web, "203.0.113.90", name, "correct horse"))

    # When strangers try passwords, from many addresses
    codes = [log_in(web, f"198.51.100.{100 + n}", name).status_code for n in range(8)]

    # They are limited, and so is somebody who knows the password but was never here
    assert codes == [403] * 5 + [429] * 3
    assert log_in(web, "198.51.100.120", name, "correct horse").status_code == 429
    # But the person is not, from a new address or from one that strangers have used up
    assert log_in(web, "198.51.100.121", name, "correct horse", **browser).status_code == 303
    spent = "198.51.100.122"
    codes = [log_in(web, spent, f"{n}@example.org").status_code for n in range(5)]
    assert codes[-1] == 429
    assert log_in(web, spent, name, "correct horse", **browser).status_code == 303


def test_a_known_browser_is_limited_too_and_is_known_for_its_own_account_only(web: Stack):
    sign_up(web, "203.0.113.95")
    name = "203.0.113.95@example.org"
    browser = device(log_in(web, "203.0.113.95", name, "correct horse"))

    codes = [log_in(web, f"198.51.100.{130 + n}", name, **browser).status_code for n in range(11)]
    assert codes == [403] * 9 + [429] * 2  # 4 as a known browser, 5 as anybody

    sign_up(web, "203.0.113.96")
    other = "203.0.113.96@example.org"
    codes = [log_in(web, "203.0.113.97", other, **browser).status_code for _ in range(3)]
    assert codes == [403, 403, 429]
    forged = {"Cookie": "gifster_device=WyJhIiwiYiJd.aaaa.bbbb"}
    assert log_in(web, "203.0.113.97", other, **forged).status_code == 429


def test_addresses_and_accounts_are_counted_apart(web: Stack):
    for number in range(6):
        log_in(web, f"198.51.100.{150 + number}", "203.0.113.70")
    codes = [log_in(web, "203.0.113.70", "somebody@example.org").status_code]

    assert codes == [403]


@pytest.mark.parametrize(
    ("number", "name", "text"),
    [
        (1, "Forwarded", "for=6.6.6.{}"),
        (2, "X-Real-IP", "6.6.6.{}"),
        (3, "CF-Connecting-IP", "6.6.6.{}"),
        (4, "X-Forwarded-For", "6.6.6.{}, 192.0.2.4"),
    ],
)
def test_a_clients_own_headers_do_not_evade_limits(web: Stack, number: int, name: str, text: str):
    codes = [
        web.client.post(
            "/api/users", json={}, headers=from_(f"192.0.2.{number}") | {name: text.format(n)}
        ).status_code
        for n in range(4)
    ]

    assert codes == [422, 422, 429, 429]


@pytest.mark.parametrize("value", ['for="1.2.3.4:abc"', "for=[::1", 'for="', "for=\xff"])
def test_odd_forwarded_headers_cause_no_500(web: Stack, value: str):
    headers = {"Forwarded": value.encode("latin1"), "X-Forwarded-For": value.encode("latin1")}

    answer = web.client.post("/login", data={"email": "a@b", "password": "x"}, headers=headers)

    assert answer.status_code in (403, 429)


def test_clients_behind_a_proxy_that_tells_ports_do_not_share_a_limit(web: Stack):
    def sign_up(address: str) -> int:
        return web.client.post("/api/users", json={}, headers=from_(address)).status_code

    assert [sign_up(f"203.0.113.60:{5000 + n}") for n in range(3)] == [422, 422, 429]
    assert sign_up("203.0.113.61:5000") == 422
    assert sign_up("[2001:db8::61]:5000") == 422


def test_a_cookie_is_secure_if_the_proxy_says_https_and_not_if_the_client_does(web: Stack):
    def cookie(address: str, **headers: str) -> str:
        sign_up(web, address)
        answer = log_in(web, address, f"{address}@example.org", "correct horse", **headers)
        return next(c for c in answer.headers.get_list("set-cookie") if "session" in c)

    forged = cookie("203.0.113.65", Forwarded="for=6.6.6.6;proto=https")
    assert "secure" not in forged.lower()
    assert "secure" in cookie("203.0.113.66", **{"X-Forwarded-Proto": "https"}).lower()


PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
TOO_MANY_TAGS = ",".join(f"tag{number}" for number in range(21))


def send_form(web: Stack, headers: dict[str, str], kept: str = "", tags: str = TOO_MANY_TAGS):
    file = ("", b"") if kept else ("a.gif", GIF)
    fields = {"tags": tags, "image_cache": kept}
    return web.client.post("/gifs", files={"image": file}, data=fields, headers=PAGE | headers)


def kept_of(answer) -> str:
    return re.search(r'name="image_cache" value="([^"]+)"', answer.text)[1]


@pytest.mark.parametrize("who", ["a user", "nobody"])
def test_a_form_sent_again_and_again_keeps_one_file(web: Stack, who: str):
    address = "192.0.2.50" if who == "nobody" else "192.0.2.51"
    headers = from_(address) | (sign_up(web, address) if who == "a user" else {})
    before = files_below(web.var / "cache")

    answer = send_form(web, headers)
    for _ in range(2):
        answer = send_form(web, headers, kept_of(answer))
        assert answer.status_code == 422
    assert len(files_below(web.var / "cache")) == len(before) + 1
    accepted = send_form(web, headers, kept_of(answer), "cats")

    assert accepted.status_code == 303
    assert len(files_below(web.var / "cache")) == len(before) + 1


def test_a_kept_file_of_somebody_else_is_refused(web: Stack):
    ann = from_("192.0.2.70") | sign_up(web, "192.0.2.70")
    ben = from_("192.0.2.71") | sign_up(web, "192.0.2.71")
    of_ann, of_nobody = kept_of(send_form(web, ann)), kept_of(send_form(web, from_("192.0.2.72")))

    for kept, headers in [
        (of_ann, ben),
        (of_ann, from_("192.0.2.70")),
        (of_nobody, ben),
        (of_nobody, from_("192.0.2.73")),
    ]:
        answer = send_form(web, headers | {"Accept": "*/*"}, kept, "cats")
        assert refused(answer, "cache_id_invalid", 422)
    assert send_form(web, from_("192.0.2.72"), of_nobody, "cats").status_code == 303


def test_a_form_sent_twice_makes_one_gif(web: Stack):
    headers = from_("192.0.2.75") | sign_up(web, "192.0.2.75")
    kept = kept_of(send_form(web, headers))

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: send_form(web, headers, kept, "cats"), range(2)))

    assert sorted(answer.status_code for answer in answers) == [303, 422]


def test_changes_are_limited(web: Stack):
    headers = from_("203.0.113.67") | sign_up(web, "203.0.113.67")
    gif_id = upload(web, headers).json()["id"]

    def tag(number: int):
        body = {"tags": [f"tag{number}"]}
        return web.client.patch(f"/api/gifs/{gif_id}", json=body, headers=headers)

    assert [tag(number).status_code for number in range(3)] == [200] * 3
    assert refused(tag(4))


def test_a_full_quota_refuses_an_upload_before_its_body_is_read(web: Stack):
    ben = sign_up(web, "203.0.113.40")
    before = files_below(web.var / "cache")

    # A body whose Content-Length is too large is not read at all
    answer = upload(web, from_("203.0.113.41") | ben, bytes(500_000))
    assert refused(answer, "quota_exceeded", 403)

    # A body without a Content-Length is refused after it is read
    def chunks():
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        yield head + images.noisy_gif((320, 200), 8) + b"\r\n--b--\r\n"

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
    assert "The quota of 3 GIFs is used up." in page.text


@dataclass
class Request:
    scope: dict[str, Any] = field(default_factory=lambda: {"client": ("192.0.2.1", 40_000)})


def test_while_redis_is_away_each_process_counts_for_itself(caplog: pytest.LogCaptureFixture):
    settings = Settings(limits=Limits(sign_up="2/365 days"))
    limits = RateLimits(settings, f"redis://127.0.0.1:{free_port()}/0")

    limits.sign_up(Request())
    limits.sign_up(Request())

    with pytest.raises(RateLimited, match="Too many sign-ups for now"):
        limits.sign_up(Request())
    assert caplog.text.count("each web process counts rates by itself") == 1


@pytest.mark.parametrize("owner", ["ann", "nobody"])
def test_a_quota_counts_bytes_and_a_replacement_the_difference(booted: Settings, owner: str):
    user: User | None = None
    if owner == "ann":
        user = accounts.sign_up("ann@example.org", "correct horse")
    quota = library.Quota(gifs=10, bytes=2 * len(SMALL) + 10)
    gif = added(user=user, quota=quota)
    added(user=user, quota=quota)

    with pytest.raises(library.Denied, match="Delete something first") as refusal:
        added(user=user, quota=quota)
    library.replace_image(gif.id, user, cached(), quota)
    library.delete_gif(gif.id, user)

    assert refusal.value.code == "quota_exceeded"
    assert added(user=user, quota=quota).bytes == len(SMALL)


def test_a_browser_is_known_however_an_international_address_is_spelt(web: Stack):
    ascii_one, name = "ann@xn--exmple-cua.de", "ann@exämple.de"
    body = {"email": name, "password": "correct horse"}
    headers = {"X-Forwarded-For": "203.0.113.1"}
    assert web.client.post("/api/users", json=body, headers=headers).status_code == 201

    def log_in(address: str, email: str, password: str = "wrong horse", cookie: str = ""):
        headers = {"X-Forwarded-For": address} | ({"Cookie": cookie} if cookie else {})
        web.client.cookies.clear()
        form = {"email": email, "password": password}
        answer = web.client.post("/login", data=form, headers=headers)
        web.client.cookies.clear()
        return answer

    answer = log_in("203.0.113.1", ascii_one, "correct horse")
    known = f"gifster_device={answer.cookies['gifster_device']}"
    codes = [log_in("203.0.113.2", e).status_code for e in (ascii_one, name, ascii_one, name)]
    assert codes == [403, 403, 429, 429]  # one account
    answer = log_in("203.0.113.2", ascii_one, "correct horse", known)
    assert answer.status_code == 303
