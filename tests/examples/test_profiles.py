"""The recipes for Flask and FastAPI: their examples run, and their pages in `docs` show them."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import dramatiq
import httpx
import pytest

from gifster import uploads
from gifster.uploads import actors
from gifster.uploads.config import config
from gifster.uploads.testing import run_jobs
from tests import images
from tests.docs_code import DOCS, ROOT, python_blocks
from tests.jobs.page.mounted import AsgiTransport

EXAMPLE = ROOT / "examples" / "profiles"
ACTORS = ("store_asset", "process_asset", "recreate_versions", "remove_files")
PASSWORD = "correct horse"
FRAMEWORKS = ["flask", "fastapi"]


@pytest.fixture(params=FRAMEWORKS)
def example(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broker_url: str,
    database_url: str,
) -> Iterator[ModuleType]:
    """The example's module, imported anew: with each framework, on each database."""
    for name, value in [
        ("VAR", str(tmp_path / "profiles")),
        ("DATABASE", database_url),
        ("BROKER", broker_url),
        ("PASSWORD", PASSWORD),
    ]:
        monkeypatch.setenv(f"PROFILES_{name}", value)
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).parent.mkdir()
    monkeypatch.syspath_prepend(EXAMPLE)
    module = importlib.import_module(f"{request.param}_app")
    for actor in ACTORS:  # which another test may have declared on a broker of its own
        dramatiq.get_broker().declare_actor(getattr(actors, actor))
    yield module
    for name in ("people", "photos", module.__name__):
        sys.modules.pop(name, None)
    assert module.db.is_closed(), "a request left its connection open"
    dramatiq.get_broker().close()


@pytest.fixture
def client(example: ModuleType) -> Iterator[httpx.Client]:
    transport = (
        httpx.WSGITransport(app=example.app)
        if example.__name__ == "flask_app"
        else AsgiTransport(example.app)
    )
    with httpx.Client(transport=transport, base_url="http://people.example") as made:
        yield made


def work(example: ModuleType) -> None:
    """What the worker does."""
    with example.db.connection_context():
        run_jobs()


GIF = images.gif((300, 200))


def test_an_avatar_is_uploaded_and_served(example: ModuleType, client: httpx.Client):
    form = {"name": "Ann"}
    sent = client.post("/people/new", data=form, files={"avatar": ("me.gif", GIF, "text/plain")})
    assert (sent.status_code, sent.headers["location"]) == (303, "/")
    assert "queued" in client.get("/").text
    work(example)

    shown = client.get("/").text
    address = re.search(r'src="(/files/[^"]+)"', shown)[1]
    thumb = client.get(address)
    assert images.size(thumb.content) == (96, 96)
    assert thumb.headers["content-type"] == "image/gif"
    assert thumb.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in thumb.headers["content-security-policy"]
    assert {"public", "max-age=31536000", "immutable"} == set(
        thumb.headers["cache-control"].split(", ")
    )
    again = client.get(address, headers={"If-None-Match": thumb.headers["etag"]})
    assert again.status_code == 304
    part = client.get(address, headers={"Range": "bytes=0-5"})
    assert (part.status_code, part.content[:3]) == (206, b"GIF")
    for path in ("/files/none.gif", "/files/../app.db", "/files/%2e%2e/app.db", "/files/"):
        assert client.get(path).status_code == 404, path


def test_a_form_that_is_shown_again_keeps_its_file(example: ModuleType, client: httpx.Client):
    # Given a form without a name, which is refused
    refused = client.post("/people/new", data={"name": " "}, files={"avatar": ("me.gif", GIF)})
    assert refused.status_code == 422
    assert "Enter a name" in refused.text
    kept = re.search(r'name="avatar_cache" value="([^"]+)"', refused.text)[1]

    # When it is sent again with a name, and its file field is empty
    empty = {"avatar": ("", b"", "application/octet-stream")}
    client.post("/people/new", data={"name": "Ann", "avatar_cache": kept}, files=empty)
    work(example)

    # I expect the person to have the avatar, and to keep it when only the name changes
    assert "/files/person/avatar/1/" in client.get("/").text
    assert client.post("/people/1", data={"name": "Anna"}, files=empty).status_code == 303
    work(example)
    shown = client.get("/").text
    assert "Anna" in shown
    assert "/files/person/avatar/1/" in shown


@pytest.mark.parametrize(
    ("data", "files", "sentence"),
    [
        ({"name": "Ann"}, {"avatar": ("me.gif", b"no image")}, "must be one of these types"),
        ({"name": "Ann", "avatar_cache": "forged"}, {}, "Choose the file again."),
        ({"name": ""}, {}, "Enter a name"),
        ({"name": "a" * 101}, {}, "Enter a name"),
    ],
)
def test_a_bad_form_is_shown_again(
    client: httpx.Client, data: dict[str, str], files: dict[str, tuple[str, bytes]], sentence: str
):
    refused = client.post("/people/new", data=data, files=files)

    assert refused.status_code == 422
    assert sentence in refused.text
    assert "Nobody yet." in client.get("/").text


def test_only_an_admin_sees_the_jobs(example: ModuleType, client: httpx.Client):
    client.post("/people/new", data={"name": "Ann"}, files={"avatar": ("me.gif", GIF)})

    refused = client.get("/admin/jobs/")
    assert refused.status_code == 403
    assert '<a href="/login">Log in</a>' in refused.text
    assert client.post("/admin/jobs/", data={"do": "delete_all"}).status_code == 403
    assert client.post("/login", data={"password": "wrong"}).status_code == 403
    assert client.get("/admin/jobs/").status_code == 403

    entered = client.post("/login", data={"password": PASSWORD})
    assert (entered.status_code, entered.headers["location"]) == (303, "/admin/jobs/")
    shown = client.get("/admin/jobs/")
    assert shown.status_code == 200
    assert "store_asset" in shown.text
    assert client.get("/admin/jobs/jobs.js").status_code == 200
    moved = client.get("/admin/jobs")
    assert moved.status_code in (307, 308)
    assert moved.headers["location"] in ("jobs/", "http://people.example/admin/jobs/")
    paused = client.post("/admin/jobs/", data={"do": "pause", "of": "carrierwave"})
    assert paused.status_code == 303
    assert "paused" in client.get("/admin/jobs/").text
    forged = {"Origin": "https://evil.example"}
    resumed = {"do": "resume", "of": "carrierwave"}
    assert client.post("/admin/jobs/", data=resumed, headers=forged).status_code == 403


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    found = answer.json()
    return (
        (answer.status_code, found["status"], found["code"]) == (status, status, code)
        and answer.headers["content-type"] == "application/problem+json"
        and bool(found["detail"])
    )


def test_a_storage_or_database_that_is_away_is_a_503(
    example: ModuleType, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    # Given a bucket of a server that is away
    away = uploads.S3Storage(
        "away", endpoint_url="http://127.0.0.1:9", access_key_id="a", secret_access_key="b",
        attempts=1,
    )  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setitem(config.storages, "cache", away)
        form = {"data": {"name": "Ann"}, "files": {"avatar": ("me.gif", GIF)}}
        answers = [client.post("/people/new", **form)]
        if example.__name__ == "fastapi_app":
            answers.append(client.post("/photos", files={"image": ("me.gif", GIF)}))

    # And a database that is away
    with monkeypatch.context() as patched:
        patched.setattr(example.db, "database", "/away/app.db")
        example.db.close()
        answers += [client.get("/"), client.post("/people/new", **form)]

    for answer in answers:
        assert is_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "30"
    assert "Nobody yet." in client.get("/").text


@pytest.mark.parametrize("example", ["fastapi"], indirect=True)
def test_a_photo_comes_in_and_json_goes_out(example: ModuleType, client: httpx.Client):
    sent = client.post("/photos", files={"image": ("me.gif", GIF, "text/plain")})
    assert (sent.status_code, sent.json()["state"]) == (201, "queued")
    key = sent.json()["id"]
    assert UUID(key).version == 4
    work(example)

    found = client.get(f"/photos/{key}").json()
    assert (found["state"], found["error"], found["image"]["width"]) == ("ready", None, 300)
    thumb = client.get(found["image"]["versions"]["thumb"]["url"])
    assert images.size(thumb.content) == (96, 96)

    other = {"image": ("other.gif", images.gif((200, 100)))}
    assert client.put(f"/photos/{key}", files=other).json()["state"] == "queued"
    work(example)
    assert client.get(f"/photos/{key}").json()["image"]["width"] == 200


@pytest.mark.parametrize("example", ["fastapi"], indirect=True)
def test_the_errors_of_the_json_api_are_problems(example: ModuleType, client: httpx.Client):
    bad = {"image": ("me.gif", b"no image")}

    assert is_problem(client.post("/photos", files=bad), 422, "type_not_allowed")
    assert is_problem(client.post("/photos"), 422, "request_invalid")
    assert is_problem(client.post("/photos", files={"image": ("", b"")}), 422, "request_invalid")
    assert is_problem(client.get("/photos/1"), 422, "request_invalid")
    assert is_problem(client.get(f"/photos/{uuid4()}"), 404, "request_refused")
    assert is_problem(client.put(f"/photos/{uuid4()}", files=bad), 404, "request_refused")
    assert is_problem(client.delete("/photos"), 405, "request_refused")
    assert is_problem(client.get("/nowhere"), 404, "request_refused")
    assert sys.modules["photos"].Photo.select().count() == 0
    example.db.close()


HTML = re.compile(r"^```html\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize(
    ("guide", "modules"),
    [("flask", ["people", "flask_app"]), ("fastapi", ["fastapi_app", "photos"])],
)
def test_the_guide_is_the_example(guide: str, modules: list[str]):
    text = (DOCS / f"{guide}.md").read_text("utf-8")
    sources = [(EXAMPLE / f"{name}.py").read_text("utf-8") for name in modules]

    blocks = python_blocks(text)
    assert all(any(block.rstrip() in source for source in sources) for block in blocks)
    # Somebody who copies all blocks has all modules, but for their docstrings
    whole = [line for source in sources for line in lines(source.split('"""\n', 1)[1])]
    assert sorted(line for block in blocks for line in lines(block)) == sorted(whole)
    templates = [path.read_text("utf-8") for path in (EXAMPLE / "templates").iterdir()]
    assert sorted(HTML.findall(text)) == (sorted(templates) if guide == "flask" else [])
