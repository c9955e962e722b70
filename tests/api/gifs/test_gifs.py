"""`/api/gifs`: from the upload to the stored file, with a real web server and a real worker."""

import hashlib
import io
import re

import PIL.Image
import pytest

from tests import images
from tests.imaging import carriers
from tests.machine import eventually, files_below
from tests.stack import Stack
from tests.videos import video


def test_an_upload_is_accepted_at_once_and_then_stored_by_a_worker(stack: Stack, gif: bytes):
    # When I upload a GIF
    answer = stack.upload(gif, "cats.gif", title="Two cats", tags="Cats, monday")

    # I expect it to be accepted, with its address
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/api/gifs/{body['id']}"
    assert body["title"] == "Two cats"
    assert body["tags"] == ["cats", "monday"]
    assert body["state"] in ("queued", "processing", "ready")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["created_at"])
    assert body["error"] is None

    # And then to be stored, whole
    done = stack.finished(body["id"])
    assert done["state"] == "ready"
    assert done["image"] | {"url": ""} == {
        "url": "",
        "content_type": "image/gif",
        "bytes": len(gif),
        "width": 300,
        "height": 200,
        "frames": 6,
        "duration_ms": 1290,
        "loop": 4,
        "sha256": hashlib.sha256(gif).hexdigest(),
    }
    assert stack.client.get(done["image"]["url"]).content == gif

    # With a thumbnail that is animated like its source
    thumb = stack.client.get(done["versions"]["thumb"]["url"]).content
    assert images.size(thumb) == (220, 147)
    assert images.timing(thumb) == images.timing(gif)
    assert done["versions"]["thumb"]["bytes"] == len(thumb)

    # And nothing left in the cache
    eventually(lambda: not files_below(stack.var / "cache"))


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (images.still("PNG"), "image/png"),
        (images.still("JPEG"), "image/jpeg"),
        (images.still("WEBP"), "image/webp"),
        (images.still("GIF"), "image/gif"),
    ],
    ids=["png", "jpeg", "webp", "gif"],
)
def test_stills_of_every_type_get_a_thumbnail(stack: Stack, content: bytes, content_type: str):
    gif_id = stack.upload(content, "still").json()["id"]

    done = stack.finished(gif_id)

    assert done["state"] == "ready"
    assert done["image"]["content_type"] == content_type
    thumb = stack.client.get(done["versions"]["thumb"]["url"])
    assert thumb.headers["content-type"] == content_type
    assert images.size(thumb.content) == (220, 147)


def test_a_video_gets_the_versions_of_a_gif(stack: Stack):
    content = video(sound=True)
    gif_id = stack.upload(content, "holiday.mp4").json()["id"]

    done = stack.finished(gif_id)

    assert done["state"] == "ready", done["error"]
    image = done["image"]
    assert (image["content_type"], image["bytes"]) == ("video/mp4", len(content))
    assert (image["width"], image["height"]) == (96, 64)
    assert (image["frames"], image["duration_ms"], image["has_sound"]) == (30, 1500, True)
    kinds = {name: version["content_type"] for name, version in done["versions"].items()}
    assert kinds["thumb"] == kinds["preview"] == kinds["tinygif"] == "image/gif"
    assert kinds["webp"] == kinds["poster"] == "image/webp"
    assert kinds["mp4"] == kinds["tinymp4"] == "video/mp4"
    assert "mediumgif" not in kinds
    answer = stack.client.get(image["url"])
    # Only the name of the program that wrote it is gone
    assert answer.headers["content-type"] == "video/mp4"
    assert len(answer.content) == len(content)
    assert b"Lavf" in content
    assert b"Lavf" not in answer.content


def test_a_video_that_is_too_long_is_refused_with_a_reason(stack: Stack):
    answer = stack.upload(video(("red", "blue"), 700), "lecture.mp4")

    assert (answer.status_code, answer.json()["code"]) == (422, "too_long")
    assert answer.json()["detail"] == "The video plays for 70 seconds; the limit is 60."


def test_a_version_that_would_not_shrink_keeps_the_pixels_in_fewer_bytes(stack: Stack):
    small = images.gif(size=(40, 30))

    done = stack.finished(stack.upload(small).json()["id"])

    thumb = stack.client.get(done["versions"]["thumb"]["url"]).content
    assert len(thumb) <= len(small)
    assert images.timing(thumb) == images.timing(small)
    assert images.pixels(thumb) == images.pixels(small)


def test_the_title_comes_from_the_file_name_if_none_is_given(stack: Stack, gif: bytes):
    assert stack.upload(gif, "Grumpy cat.gif").json()["title"] == "Grumpy cat"


def test_lists_are_newest_first_and_continue_at_the_cursor(stack: Stack):
    ids = [stack.upload(images.gif(), tags="paged").json()["id"] for _ in range(5)]

    pages = []
    query = {"tag": "paged", "limit": 2}
    while True:
        page = stack.client.get("/api/gifs", params=query).json()
        pages.append([item["id"] for item in page["items"]])
        if page["next"] is None:
            break
        query["cursor"] = page["next"]

    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


def test_a_search_finds_words_of_titles_and_tags(stack: Stack):
    by_title = stack.upload(images.gif(), title="A Walrus, dancing").json()["id"]
    by_tag = stack.upload(images.gif(), tags="walruses").json()["id"]
    stack.upload(images.gif(), title="100% other")

    def found(**query: str) -> set[str]:
        return {item["id"] for item in stack.client.get("/api/gifs", params=query).json()["items"]}

    assert found(q="walrus") == {by_title, by_tag}
    assert found(tag="walruses") == {by_tag}
    assert found(q="%walrus") == {by_title, by_tag}
    assert found(q="%") == set()


def test_title_and_tags_can_be_changed_without_touching_the_image(stack: Stack, gif: bytes):
    done = stack.finished(stack.upload(gif, tags="old").json()["id"])

    answer = stack.client.patch(f"/api/gifs/{done['id']}", json={"title": "New", "tags": ["new"]})

    assert answer.status_code == 200
    assert answer.json() == done | {"title": "New", "tags": ["new"]}


def test_an_image_can_be_replaced_and_its_old_files_go(stack: Stack, gif: bytes):
    # Given a stored GIF
    done = stack.finished(stack.upload(gif).json()["id"])
    folder = stack.var / "store" / "gifs" / done["id"]
    before = files_below(folder)

    # When I replace its image
    other = images.gif(size=(500, 100), loop=None)
    answer = stack.client.put(f"/api/gifs/{done['id']}/image", files={"image": ("b.gif", other)})

    # I expect the old one to stay until the new one is stored
    assert answer.status_code == 202
    assert answer.json()["image"] is not None
    replaced = eventually(
        lambda: (
            (now := stack.gif(done["id"]))["state"] == "ready"
            and now["image"]["width"] == 500
            and now
        )
    )
    assert replaced["image"]["loop"] is None
    assert stack.client.get(replaced["image"]["url"]).content == other

    # And then the old one to be gone
    eventually(lambda: not set(before) & set(files_below(folder)))
    assert stack.client.get(done["image"]["url"]).status_code == 404


def test_a_deleted_gif_leaves_nothing_behind(stack: Stack, gif: bytes):
    done = stack.finished(stack.upload(gif).json()["id"])

    assert stack.client.delete(f"/api/gifs/{done['id']}").status_code == 204

    assert stack.client.get(f"/api/gifs/{done['id']}").status_code == 404
    eventually(lambda: not (stack.var / "store" / "gifs" / done["id"]).exists())


def test_a_gif_deleted_right_after_its_upload_leaves_nothing_behind(stack: Stack):
    gif_id = stack.upload(images.noisy_gif((400, 300), 10)).json()["id"]

    stack.client.delete(f"/api/gifs/{gif_id}")

    eventually(lambda: not files_below(stack.var / "cache"))
    eventually(lambda: not (stack.var / "store" / "gifs" / gif_id).exists())


def test_a_damaged_picture_ends_as_failed_with_a_reason(stack: Stack):
    # Given a GIF whose structure is sound, but whose pixels are damaged
    damaged = bytearray(images.still("PNG"))
    at = damaged.index(b"IDAT") + 8
    damaged[at : at + 40] = bytes(40)

    done = stack.finished(stack.upload(bytes(damaged), "damaged.png").json()["id"])

    assert done["state"] == "failed"
    assert done["error"]["code"] == "unreadable"
    assert done["image"] is None
    eventually(lambda: not files_below(stack.var / "cache"))


def test_nobody_learns_where_a_photo_was_taken(stack: Stack):
    # Given a photo with its place in EXIF, XMP and comments, a thumbnail, and a film behind it
    photo = carriers.jpeg()

    done = stack.finished(stack.upload(photo).json()["id"])

    # I expect none of it in the original or in a version, and facts of what is stored
    original = stack.client.get(done["image"]["url"]).content
    files = [stack.client.get(version["url"]).content for version in done["versions"].values()]
    assert not [content for content in [original, *files] if carriers.SECRET in content]
    with PIL.Image.open(io.BytesIO(original)) as image:
        assert not dict(image.getexif())
    assert done["image"]["sha256"] == hashlib.sha256(original).hexdigest()
    assert done["image"]["bytes"] == len(original) < len(photo)
    # … and the same photo to be a duplicate
    again = stack.finished(stack.upload(photo).json()["id"])
    assert again["image"]["sha256"] == done["image"]["sha256"]
