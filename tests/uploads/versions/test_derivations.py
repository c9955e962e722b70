"""Derivations: versions that are made when their URL is first requested."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import PIL.ImageOps
import pytest

from gifster import jobs
from gifster.uploads import (
    Image,
    Uploader,
    derivation,
    endpoints,
    instrumentation,
    mount_uploader,
    mount_uploaders,
    sweep,
)
from gifster.uploads.instrumentation import Event
from gifster.uploads.testing import run_jobs
from gifster.uploads.versions import making
from tests import images
from tests.combinations import on_one_platform
from tests.machine import eventually
from tests.uploads.calling import AsgiClient, Caller
from tests.uploads.framework import Application, Base

GIF = images.gif((300, 200))


class PhotoUploader(Uploader):
    derivations_url = "/mounted"
    allow_types = None

    @derivation
    def box(self, image: Image, width: int, height: int) -> Image:
        return image.fill(width, height)

    @derivation
    def poster(self, image: Image, format: str = "webp") -> Image:
        return image.first_frame().convert(format)

    @derivation
    def film(self, image: Image) -> Image:
        return image.convert("mp4")

    @derivation
    def grey(self, image: Image) -> Image:
        return image.apply(PIL.ImageOps.grayscale)


class Picture(Base):
    photo = mount_uploader(PhotoUploader)


class Pictures(Base):
    photos = mount_uploaders(PhotoUploader)


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Picture, Pictures)
    return application


@pytest.fixture
def photo(app: Application) -> PhotoUploader:
    return stored(GIF)


def stored(content: bytes) -> PhotoUploader:
    picture = Picture(photo=content)
    picture.save()
    return Picture.get_by_id(picture.id).photo


@pytest.fixture(params=["wsgi", "asgi"])
def call(request: pytest.FixtureRequest) -> Caller:
    return Caller(endpoints.derivations(PhotoUploader), request.param)


@pytest.fixture
def made() -> Iterator[list[Event]]:
    """The derivations that were made."""
    heard: list[Event] = []
    end = instrumentation.subscribe(heard.append, ["derive"])
    yield heard
    end()


def below(url: str | None) -> str:
    """The path of a URL below the mount."""
    assert url is not None
    assert url.startswith("/mounted/")
    return url.removeprefix("/mounted")


def test_a_derivation_is_made_once_and_kept(
    app: Application, photo: PhotoUploader, call: Caller, made: list[Event]
):
    # When a browser asks for a derivation, and another one, too
    path = below(photo.derivation_url("box", 60, 60))
    first, second = call("GET", path), call("GET", path)

    # I expect the picture, made once, beside its original
    assert first.status_code == 200
    assert images.size(first.content) == (60, 60)
    assert first.content == second.content
    assert first.headers["content-type"] == "image/gif"
    assert first.headers["content-length"] == str(len(first.content))
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert first.headers["x-content-type-options"] == "nosniff"
    (event,) = made
    folder = photo.stored.key.rpartition("/")[0]
    assert event.facts["key"].startswith(f"{folder}/derived/box-")
    assert event.facts["key"] in app.stored

    # and a browser that has it gets nothing again
    third = call("GET", path, headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (third.status_code, third.content) == (304, b"")


def test_arguments_and_formats(app: Application, photo: PhotoUploader, call: Caller):
    url = photo.derivation_url("poster")
    assert url.endswith(".webp")
    answer = call("GET", below(url))
    assert answer.headers["content-type"] == "image/webp"
    assert answer.content[8:12] == b"WEBP"

    answer = call("GET", below(photo.derivation_url("poster", "png")))
    assert answer.content[:4] == b"\x89PNG"


def test_each_file_of_a_list_has_derivations(app: Application, call: Caller):
    album = Pictures(photos=[GIF, images.still("PNG", (90, 30))])
    album.save()

    urls = [photo.derivation_url("box", 30, 30) for photo in Pictures.get_by_id(album.id).photos]

    contents = [call("GET", below(url)).content for url in urls]
    assert [content[:4] for content in contents] == [b"GIF8", b"\x89PNG"]


def test_a_part_of_a_derivation(app: Application, photo: PhotoUploader, call: Caller):
    path = below(photo.derivation_url("box", 60, 60))
    whole = call("GET", path)
    size, tag = len(whole.content), whole.headers["etag"]

    def part(range: str, **headers: str) -> tuple[int, bytes, str | None]:
        answer = call("GET", path, headers={"Range": range} | headers)
        assert answer.headers["content-length"] == str(len(answer.content))
        return answer.status_code, answer.content, answer.headers.get("content-range")

    assert whole.headers["accept-ranges"] == "bytes"
    assert part("bytes=0-9") == (206, whole.content[:10], f"bytes 0-9/{size}")
    assert part("bytes=10-") == (206, whole.content[10:], f"bytes 10-{size - 1}/{size}")
    assert part("bytes=-5") == (206, whole.content[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert part("bytes=9-2") == part("bytes=0-1,3-4") == (200, whole.content, None)
    assert part("bytes=0-9", **{"If-Range": '"other"'})[0] == 200
    assert part("bytes=0-9", **{"If-Range": tag})[0] == 206
    gone = call("GET", path, headers={"Range": f"bytes={size}-"})
    assert (gone.status_code, gone.headers["content-range"]) == (416, f"bytes */{size}")
    assert gone.json()["code"] == "range_not_satisfiable"
    head = call("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(size)


def test_only_urls_that_were_made_here_are_served(
    app: Application, photo: PhotoUploader, call: Caller, made: list[Event]
):
    path = below(photo.derivation_url("box", 60, 60))

    def refused(path: str) -> str:
        answer = call("GET", path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.json()["code"]

    token, _, _ = path.rpartition(".")
    other = "B" if path[12] != "B" else "C"
    changed = [f"{token}.png", f"{path[:12]}{other}{path[13:]}", f"/film{path[4:]}", f"{path}/x"]
    for forged in ("/", "/x.gif", "/box-x.gif", *changed):
        assert refused(forged) == "not_found"
    app.configure(secret="another secret")
    assert refused(path) == "not_found"
    assert made == []
    assert call("POST", path).status_code == 405


def test_a_secret_can_be_changed_while_old_urls_stay_valid(
    app: Application, photo: PhotoUploader, call: Caller
):
    path = below(photo.derivation_url("box", 60, 60))

    app.configure(secret=["a secret of the tests", "a new secret"])
    assert call("GET", path).status_code == 200
    newer = below(photo.derivation_url("box", 60, 60))

    app.configure(secret="a new secret")
    assert (call("GET", path).status_code, call("GET", newer).status_code) == (404, 200)


def test_a_url_expires(
    app: Application, photo: PhotoUploader, call: Caller, monkeypatch: pytest.MonkeyPatch
):
    path = below(photo.derivation_url("box", 60, 60, expires_s=60))
    answer = call("GET", path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] in ("private, max-age=60", "private, max-age=59")

    now = jobs.now()
    monkeypatch.setattr(jobs, "now", lambda: now + 61)
    late = call("GET", path)
    assert (late.status_code, "has expired" in late.json()["detail"]) == (404, True)


def test_another_recipe_has_another_url(
    app: Application, photo: PhotoUploader, call: Caller, monkeypatch: pytest.MonkeyPatch
):
    # Given a derivation that browsers keep for ever
    before = below(photo.derivation_url("box", 60, 60))
    call("GET", before)

    # When the uploader changes
    changed = derivation(lambda self, image, width, height: image.fit(width, height))
    monkeypatch.setattr(PhotoUploader, "box", changed)
    after = below(photo.derivation_url("box", 60, 60))

    # I expect a new URL with the new picture; the old one, which a mail may have, shows it, too
    assert after != before
    new, old = call("GET", after), call("GET", before)
    assert images.size(new.content) == images.size(old.content) == (60, 40)
    assert new.headers["cache-control"].endswith("immutable")
    assert old.headers["cache-control"] == "public, max-age=300"


def test_a_deleted_picture_has_no_derivations(app: Application, call: Caller):
    # Given a derivation of a picture, and one of another
    photo, other = stored(GIF), stored(GIF)
    path, kept = (below(one.derivation_url("box", 60, 60)) for one in (photo, other))
    assert call("GET", path).status_code == call("GET", kept).status_code == 200

    # When the picture is deleted
    photo.record.delete_instance()
    run_jobs()

    # I expect that nobody sees it, whatever is kept, and that the sweep removes what is
    answer = call("GET", path, headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.json()["detail"]) == (404, "This picture has been deleted.")
    found = sweep(repair=True, min_age_s=-5)
    assert len(found.orphans) == 1
    assert "/derived/box-" in found.orphans[0]
    assert call("GET", kept).status_code == 200
    assert sorted(app.stored) == sorted(
        [other.stored.key, *(key for key in app.stored if "/derived/" in key)]
    )


def test_what_cannot_be_derived(app: Application, photo: PhotoUploader, call: Caller):
    with pytest.raises(LookupError, match="has no derivation 'large'"):
        photo.derivation_url("large")
    with pytest.raises(TypeError, match="height"):
        photo.derivation_url("box", 60)
    with pytest.raises(TypeError, match=r"uses apply\(\)"):
        photo.derivation_url("grey")
    assert Picture().photo.derivation_url("box", 1, 1) is None
    assert stored(b"text").derivation_url("box", 1, 1) is None
    still = stored(images.still("PNG"))
    answer = call("GET", below(still.derivation_url("film")))
    assert (answer.status_code, answer.json()["code"]) == (422, "derivation_not_possible")


def test_an_uploader_without_an_address_says_so(app: Application, monkeypatch: Any):
    monkeypatch.setattr(PhotoUploader, "derivations_url", "")

    with pytest.raises(LookupError, match="derivations_url is empty"):
        stored(GIF).derivation_url("box", 1, 1)


# Many at once. Storage and database matter for none of these.


def at_once(number: int, what: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(number)

    def one() -> Any:
        barrier.wait()
        return what()

    with ThreadPoolExecutor(number) as pool:
        return [each.result() for each in [pool.submit(one) for _ in range(number)]]


@on_one_platform
def test_fifty_requests_at_once_make_it_once(photo: PhotoUploader, made: list[Event]):
    call = Caller(endpoints.derivations(PhotoUploader), "wsgi")
    path = below(photo.derivation_url("box", 60, 60))

    answers = at_once(50, lambda: call("GET", path))

    assert {(answer.status_code, len(answer.content)) for answer in answers} == {
        (200, len(answers[0].content))
    }
    assert len(made) == 1


@on_one_platform
def test_processes_make_it_once(photo: PhotoUploader, made: list[Event]):
    # Given another process that is making the derivation
    wanted = endpoints.deriving.read(PhotoUploader, below(photo.derivation_url("box", 60, 60))[1:])
    here, there = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with making.locked(wanted.key):
            os.write(here[1], b"locked")
            os.read(there[0], 1)
            making.render(wanted)
        os._exit(0)
    os.read(here[0], 6)

    # When a request asks this process for it
    maker = making.Maker(1, 10)
    request = threading.Thread(target=maker.make, args=[wanted])
    request.start()
    request.join(0.1)
    assert request.is_alive()
    os.write(there[1], b"!")
    request.join(60)

    # I expect that it waits for the other, and makes nothing
    assert os.waitpid(child, 0)[1] == 0
    assert not request.is_alive()
    assert made == []


@on_one_platform
def test_a_flood_is_refused(photo: PhotoUploader, monkeypatch: pytest.MonkeyPatch):
    # Given an endpoint that is busy with as many derivations as may wait
    begun, go = threading.Semaphore(0), threading.Event()
    real = making.render

    def slow(wanted: Any) -> None:
        begun.release()
        go.wait(60)
        real(wanted)

    monkeypatch.setattr(making, "render", slow)
    call = Caller(endpoints.derivations(PhotoUploader, at_once=1, waiting=2), "wsgi")
    paths = [below(photo.derivation_url("box", size, 60)) for size in (10, 20, 30)]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call, "GET", paths[0])
        begun.acquire(timeout=60)
        again = pool.submit(call, "GET", paths[0])
        eventually(lambda: call._endpoint._maker._waiting == 2)

        # When one more is wanted
        refused = call("GET", paths[2])

        # I expect that it is refused for now, and that the others come
        assert (refused.status_code, refused.json()["code"]) == (503, "too_busy")
        assert refused.headers["retry-after"] == "2"
        go.set()
        assert first.result().status_code == again.result().status_code == 200
    assert call("GET", paths[2]).status_code == 200


@on_one_platform
def test_a_failure_is_that_of_all_who_wait_and_of_nobody_later(
    photo: PhotoUploader, monkeypatch: pytest.MonkeyPatch
):
    call = Caller(endpoints.derivations(PhotoUploader), "wsgi")
    path = below(photo.derivation_url("box", 60, 60))

    def fails(wanted: Any) -> None:
        raise RuntimeError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(making, "render", fails)
        answers = at_once(5, lambda: call("GET", path))
    assert {answer.json()["code"] for answer in answers} == {"internal_error"}

    assert call("GET", path).status_code == 200


@on_one_platform
def test_a_client_that_leaves_stops_the_answer(photo: PhotoUploader):
    endpoint = endpoints.derivations(PhotoUploader)
    client = AsgiClient([b""], leaves=True)

    client.call(endpoint, "GET", below(photo.derivation_url("box", 60, 60)))

    assert client.sent[0]["status"] == 200


def test_limits_are_checked():
    with pytest.raises(ValueError, match="at_once=0"):
        endpoints.derivations(PhotoUploader, at_once=0)
