"""The original of an edited GIF, as somebody would look for what an edit has cut off: no address
gives it, or tells anything about it, but to those who may change the GIF."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import falcon.inspect
import pytest

from gifster.api import live
from gifster.app.access import STRANGER
from gifster.app.database import db
from gifster.app.models import Gif, ImageUploader, User, new_id
from gifster.app.tokens import Scope, create_token
from gifster.uploads import S3Storage
from gifster.uploads.attaching.storing import folder
from gifster.uploads.config import configure, storage
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import keep
from tests import images
from tests.api.clients import Client, in_turn
from tests.api.library_of_ann import Library
from tests.api.routes import OTHERS
from tests.api.stored_gifs import DHASH, PICTURE, stored_gif
from tests.app.people import person

#: The original, and what its edit selects of it.
ORIGINAL, FULL = images.gif((131, 97), [60] * 7), images.gif((40, 30), [60] * 3)
SHA256 = hashlib.sha256(ORIGINAL).hexdigest()
EDIT = {
    "start": 0.06,
    "end": 0.24,
    "fps": None,
    "crop": {"x": 7, "y": 5, "width": 40, "height": 30},
}
#: Streams, which do not end, and numbers that change.
LEFT_OUT = ("/events", "/jobs/events", "/metrics")
#: What asks for the GIF, in the words of all routes.
ASKING = "q=needle&tag=haystack&ids={id}&gif_id={id}&url=http%3A%2F%2Flocalhost%2Fgifs%2F{id}&key=k"
SECRETS = re.compile(
    "|".join([SHA256[:32], "original-", r"\b131\b", '"x": ?7', rf"\b{len(ORIGINAL)}\b"])
)


@pytest.fixture
def edited(library_of_ann: Library) -> Library:
    """Ann's GIF, of which an edit shows a part."""
    it = library_of_ann
    edit(it.gif)
    secret = create_token(person("mod", is_moderator=True), "t", Scope.ADMIN)[1]
    loop = it.people["stranger"]._loop
    it.people["moderator"] = Client(it.app, loop, {"Authorization": f"Bearer {secret}"})
    return it


def edit(gif: Gif) -> None:
    """Give a stored GIF another original, and an edit, as a worker has them when it is done."""
    folder = f"gifs/{gif.id}/0123456789abcdef"
    stored = json.loads(
        db.execute_sql(f"SELECT image FROM gif WHERE id = '{gif.id}'").fetchone()[0]
    )
    full = hashlib.sha256(FULL).hexdigest()
    stored |= {
        "key": f"{folder}/original-0011223344556677.gif", "sha256": SHA256, "width": 131,
        "height": 97, "bytes": len(ORIGINAL), "frames": 7, "duration_ms": 420, "steps": "5" * 16,
    }  # fmt: skip
    stored["versions"]["full"] = stored["versions"]["thumb"] | {
        "key": f"{folder}/full.gif",
        "sha256": full,
    }
    keep(storage("store"), stored["key"], ORIGINAL)
    keep(storage("store"), f"{folder}/full.gif", FULL)
    values = [json.dumps(stored), SHA256, json.dumps(EDIT), gif.id]
    sql = 'UPDATE gif SET image = {0}, sha256 = {0}, "edit" = {0} WHERE id = {0}'
    db.execute_sql(sql.format(db.obj.param), values)


MAY_CHANGE = ("owner", "owner's browser", "owner's reading token", "admin", "moderator")


def others(it: Library) -> Iterator[tuple[str, Client]]:
    return ((name, one) for name, one in it.people.items() if name not in MAY_CHANGE)


def addresses(it: Library) -> list[str]:
    """The addresses of all pages and answers, with what asks for the GIF, and without."""
    values, found = OTHERS | {"gif_id": it.gif.id}, []
    for route in falcon.inspect.inspect_routes(it.app):
        if route.path in LEFT_OUT or not any(method.method == "GET" for method in route.methods):
            continue
        path = re.sub(r"{(\w+)(:\w+)?}", lambda part: values.get(part[1], "needle"), route.path)
        found += [path, f"{path}?{ASKING.format(id=it.gif.id)}"]
    return found


def test_no_route_tells_others_anything_of_the_original(edited: Library):
    it = edited
    paths = addresses(it)
    assert len(paths) > 150

    # When strangers ask for everything that there is
    for number, path in enumerate(paths):
        for name, client in in_turn(others(it), number):
            answer = client("GET", path, headers={"Accept": "application/json, text/html"})
            # Then nothing has the original, its address, or its facts
            assert answer.content != ORIGINAL, (name, path)
            if "/static/" not in path and "openapi" not in path:
                assert not SECRETS.search(answer.text), (name, path, SECRETS.search(answer.text))

    # And this would have been noticed
    told = [path for path in paths if SECRETS.search(it.people["owner"]("GET", path).text)]
    assert {f"/api/gifs/{it.gif.id}", f"/gifs/{it.gif.id}", "/api/gifs"} <= set(told)


def test_others_get_what_the_edit_selects(edited: Library):
    it = edited
    stored = Gif.get_by_id(it.gif.id).image.stored
    key, full = stored.key, stored.versions["full"]

    for name, client in it.people.items():
        gif = client("GET", f"/api/gifs/{it.gif.id}").json()
        image = client("GET", gif["image"]["url"])
        if name in MAY_CHANGE:
            # The original, which no shared cache keeps
            assert (image.content, gif["image"]["sha256"]) == (ORIGINAL, SHA256), name
            assert image.headers["cache-control"] == "private, no-cache"
            assert gif["edit"] == EDIT
            continue
        assert image.content == FULL, name
        facts = {name: gif["image"][name] for name in ("width", "height", "frames", "duration_ms")}
        assert facts == {"width": 40, "height": 30, "frames": 3, "duration_ms": 180}
        assert (gif["image"]["sha256"], gif["edit"]) == (full.sha256, None)
        # Nor do they get the original under its own address, and nothing says that it is there
        missing = key.replace(it.gif.id, "zzzzzzzzzzzz")
        for method in ("GET", "HEAD"):
            answers = [client(method, f"/media/{one}") for one in (key, missing)]
            assert {answer.status_code for answer in answers} == {404}, name
            assert answers[0].headers["cache-control"] == answers[1].headers["cache-control"]
    standing = live.read([it.gif.id])[it.gif.id]
    assert live.known(standing, STRANGER) == ("ready", full.sha256)


def test_duplicates_do_not_tell_what_the_original_is(edited: Library):
    # Given that Bob has the file that Ann has cut, before and after her
    it = edited
    bob = User.get(User.name == "bob")
    older, newer = (stored_gif(bob, title, []) for title in ("older", "newer"))
    Gif.update(sha256=SHA256, created_at=1).where(Gif.id == older.id).execute()
    Gif.update(sha256=SHA256).where(Gif.id == newer.id).execute()

    for name, client in others(it):
        hers, his = (client("GET", f"/api/gifs/{gif.id}").json() for gif in (it.gif, newer))
        # Then Ann's GIF is nobody's duplicate
        assert (hers["duplicate_of"], hers["similar"]) == (None, []), name
        assert (his["duplicate_of"], his["similar"]) == (older.id, [older.id]), name
        Gif.update(trashed_at=1).where(Gif.id == older.id).execute()
        found = client("POST", "/duplicates", json={"sha256": [SHA256]}).json()["found"]
        assert found[SHA256]["id"] == newer.id, name
        Gif.update(trashed_at=None).where(Gif.id == older.id).execute()
    # But Ann is told
    hers = it.people["owner"]("GET", f"/api/gifs/{it.gif.id}").json()
    assert hers["duplicate_of"] == older.id
    assert set(hers["similar"]) == {older.id, newer.id}


def test_a_public_bucket_does_not_lead_to_the_original(edited: Library):
    # Given a bucket with a CDN before it
    it = edited
    options = {"access_key_id": "key", "secret_access_key": "secret", "region": "eu"}
    bucket = S3Storage("gifs", endpoint_url="http://127.0.0.1:1", expires_s=600,
                       base_url="https://cdn.example.org", **options)  # fmt: skip
    configure({"store": bucket, "cache": storage("cache")})

    # Then those who may have the original get an address that ends
    for name, client in it.people.items():
        url = client("GET", f"/api/gifs/{it.gif.id}").json()["image"]["url"]
        assert ("X-Amz-Signature=" in url) == (name in MAY_CHANGE), name

    # And no address of a version tells that of the original
    uploader = Gif.image.attacher(it.gif).uploader_of(Gif.get_by_id(it.gif.id).image.stored)
    one, other = (cache_upload(ImageUploader, PICTURE, "a.gif") for _ in range(2))
    assert uploader.filename("thumb", one) == "thumb"
    names = {uploader.filename(None, upload) for upload in (one, other)}
    assert len(names) == 2
    assert not any(
        name[9:] in folder(uploader, upload) for name in names for upload in (one, other)
    )


@pytest.mark.parametrize("state", ["queued", "failed"])
def test_a_replacement_does_not_show_what_the_edit_had_hidden(edited: Library, state: Any):
    # Given a replacement, which ends the edit, while the old picture is still there
    it = edited
    Gif.update(edit=None, image_state=state).where(Gif.id == it.gif.id).execute()
    key = Gif.get_by_id(it.gif.id).image.stored.key

    for name, client in others(it):
        gif = client("GET", f"/api/gifs/{it.gif.id}").json()
        assert client("GET", gif["image"]["url"]).content == FULL, name
        assert client("GET", f"/g/{it.gif.id}.gif").content == FULL, name
        assert client("GET", f"/media/{key}").status_code == 404, name
        assert gif["similar"] == []


def test_a_former_picture_is_for_nobody_though_its_files_are_there_yet(edited: Library):
    # Given the original that an edit had hidden, and a picture that has taken its place
    it = edited
    former = Gif.get_by_id(it.gif.id).image.stored.key
    folder = f"gifs/{it.gif.id}/fedcba9876543210"
    stored = Gif.get_by_id(it.gif.id).image.stored.dump()
    stored |= {"key": f"{folder}/original-1.gif", "steps": "", "versions": {}}
    db.execute_sql(
        f'UPDATE gif SET "edit" = NULL, image = {db.obj.param} WHERE id = {db.obj.param}',
        [json.dumps(stored), it.gif.id],
    )
    keep(storage("store"), stored["key"], PICTURE)

    for name, client in others(it):
        assert client("GET", f"/media/{stored['key']}").content == PICTURE, name
        assert client("GET", f"/media/{former}").status_code == 404, name


def test_a_gif_that_nobody_has_edited_is_as_before(edited: Library):
    it = edited
    other = stored_gif(it.ann, new_id(), [])

    for name, client in it.people.items():
        gif = client("GET", f"/api/gifs/{other.id}").json()
        image = client("GET", gif["image"]["url"])
        assert (image.content, image.status_code) == (PICTURE, 200), name
        assert image.headers["cache-control"].startswith("public"), name
    assert Gif.get_by_id(other.id).image.stored.dhash == DHASH
