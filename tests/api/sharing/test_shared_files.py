"""`/g/…`: addresses that stay, whatever happens to the files behind them."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gifster.api.sharing.renditions import file_as, own_file, picture_of
from gifster.uploads import StoredFile, StoredVersion
from tests import images
from tests.api.sharing.conftest import Make
from tests.machine import eventually
from tests.s3 import S3Server
from tests.stack import Stack
from tests.videos import video

ANY_SITE = "cross-origin"


def file(stack: Stack, path: str, **headers: str) -> httpx.Response:
    return stack.client.get(f"/g/{path}", headers=headers)


def test_the_short_link_leads_to_the_page(stack: Stack, moving: dict[str, Any]):
    answer = file(stack, moving["id"])

    assert answer.status_code == 301
    assert answer.headers["location"] == f"/gifs/{moving['id']}"
    assert stack.client.get(answer.headers["location"]).status_code == 200
    # … and nowhere else, whatever the id is
    assert file(stack, "%2F%2Fevil.example").headers.get("location", "") != "//evil.example"


def test_a_gif_has_its_own_file_and_the_other_formats(stack: Stack, moving: dict[str, Any]):
    original = stack.client.get(moving["image"]["url"]).content
    for extension, kind, content in (
        ("gif", "image/gif", original),
        ("webp", "image/webp", stack.client.get(moving["versions"]["webp"]["url"]).content),
        ("mp4", "video/mp4", stack.client.get(moving["versions"]["mp4"]["url"]).content),
    ):
        answer = file(stack, f"{moving['id']}.{extension}")

        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.content == content
        assert answer.headers["cross-origin-resource-policy"] == ANY_SITE
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["content-disposition"].startswith("inline")


def test_a_version_has_an_address_that_stays(stack: Stack, moving: dict[str, Any]):
    answer = file(stack, f"{moving['id']}/tinygif.gif")

    assert answer.content == stack.client.get(moving["versions"]["tinygif"]["url"]).content
    for path in ("tinygif.webp", "nothing.gif", "original.gif"):
        assert file(stack, f"{moving['id']}/{path}").status_code == 404


def test_a_film_and_a_webp_have_a_gif(stack: Stack, make: Make):
    film, webp = make(video(), "a.mp4"), make(images.animated("WEBP", [60, 60]), "a.webp")
    for gif in film, webp:
        answer = file(stack, f"{gif['id']}.gif")

        assert answer.headers["content-type"] == "image/gif"
        assert answer.content[:6] == b"GIF89a"
    # … and their own file is the original
    for gif, extension in (film, "mp4"), (webp, "webp"):
        original = stack.client.get(gif["image"]["url"]).content
        assert file(stack, f"{gif['id']}.{extension}").content == original


def test_a_still_has_its_own_format_and_no_other(stack: Stack, make: Make):
    still = make(images.still("JPEG"), "a.jpg", title="Still")
    for extension in ("jpg", "jpeg", "JPG"):
        assert file(stack, f"{still['id']}.{extension}").headers["content-type"] == "image/jpeg"

    answer = file(stack, f"{still['id']}.mp4", Accept="application/json")

    assert (answer.status_code, answer.json()["code"]) == (404, "format_missing")
    assert answer.json()["detail"] == "This GIF has no mp4. It has: jpg."
    assert answer.headers["cache-control"] == "no-store"


def test_head_ranges_and_revalidation(stack: Stack, moving: dict[str, Any]):
    path = f"/g/{moving['id']}.mp4"
    whole = stack.client.get(path)

    head = stack.client.head(path)
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["accept-ranges"] == "bytes"
    # Safari begins each film with the first two bytes, and plays none without their 206
    part = stack.client.get(path, headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, whole.content[:2])
    assert part.headers["content-range"] == f"bytes 0-1/{len(whole.content)}"

    assert whole.headers["cache-control"] == "public, max-age=300"
    again = stack.client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["cache-control"] == "public, max-age=300"


def test_the_address_stays_when_the_picture_is_replaced(
    stack: Stack, make: Make, ann: dict[str, str]
):
    gif = make()
    path = f"/g/{gif['id']}.gif"
    before = stack.client.get(path)
    other = images.gif((60, 40), [50, 50])

    stack.client.put(f"/api/gifs/{gif['id']}/image", files={"image": other}, headers=ann)

    eventually(lambda: stack.client.get(path).content == other)
    etag = {"If-None-Match": before.headers["etag"]}
    assert stack.client.get(path, headers=etag).status_code == 200


@pytest.mark.parametrize(
    ("title", "plain", "whole"),
    [
        ("Yes, & no (1)", "Yes, & no (1).gif", None),
        ("Häuser/Katze", "H_user_Katze.gif", "H%C3%A4user_Katze.gif"),
        ('He said "no"', "He said _no_.gif", "He said %22no%22.gif"),
        # Chromium saved it as setup.exe.
        (
            "x\"; filename*=UTF-8''setup.exe; y=\"",
            "x__ filename_=UTF-8''setup.exe_ y=_.gif",
            "x%22%3B filename%2A%3DUTF-8%27%27setup.exe%3B y%3D%22.gif",
        ),
        ("50%22 off", "50_22 off.gif", "50%2522 off.gif"),
        ("a\\", "a_.gif", None),
        ("猫", "_.gif", "%E7%8C%AB.gif"),
    ],
)
def test_a_file_has_the_name_of_the_title(
    stack: Stack, make: Make, title: str, plain: str, whole: str | None
):
    gif = make(title=title)
    named = f'filename="{plain}"'
    if whole:
        named += "; filename*=UTF-8''" + whole.replace(" ", "%20")

    for query, kind in (("?download=1", "attachment"), ("", "inline")):
        answer = file(stack, f"{gif['id']}.gif{query}")
        assert answer.headers["content-disposition"] == f"{kind}; {named}"


def test_an_edited_gif_is_shared_as_edited(stack: Stack, make: Make):
    gif = make(images.gif((120, 80), [60] * 4), crop="0,0,40,80")

    assert images.size(file(stack, f"{gif['id']}.gif").content) == (40, 80)


def test_an_unlisted_gif_is_there_for_those_who_know_its_address(stack: Stack, make: Make):
    gif = make(visibility="unlisted")

    answer = file(stack, f"{gif['id']}.gif")

    assert answer.status_code == 200
    assert answer.headers["x-robots-tag"] == "noindex"


def test_a_private_gif_is_its_owners_alone(stack: Stack, make: Make, ann: dict[str, str]):
    gif = make(visibility="private")
    path = f"{gif['id']}.gif"

    assert file(stack, path).status_code == 404
    assert file(stack, path).json() == file(stack, "bptnyvtZ6xqU.gif").json() | {
        "detail": f"There is no GIF {gif['id']}."
    }
    mine = file(stack, path, **ann)
    assert mine.status_code == 200
    assert mine.headers["cache-control"] == "private, no-store"


def test_files_that_are_not_made_yet_come_soon(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.start_web()
    gif_id = stack.upload(images.gif()).json()["id"]

    answer = file(stack, f"{gif_id}.gif")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_ready")
    assert answer.headers["retry-after"] == "2"


def test_files_in_a_bucket(new_stack: Callable[..., Stack], s3_server: S3Server):
    stack = new_stack(**s3_server.settings("store"))
    stack.start_web()
    stack.start_worker()
    gif_id = stack.upload(images.gif(), title="Bucket").json()["id"]
    stack.finished(gif_id)

    # Their address is a redirect to one of the bucket, which holds longer than the redirect
    answer = file(stack, f"{gif_id}.gif")
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["cross-origin-resource-policy"] == ANY_SITE
    assert httpx.get(answer.headers["location"]).content == images.gif()

    # A download, and a script of our page, get the file from here
    download = file(stack, f"{gif_id}.gif?download=1")
    assert (download.status_code, download.content) == (200, images.gif())
    assert 'filename="Bucket.gif"' in download.headers["content-disposition"]
    # And tells its size, as HEAD does
    head = stack.client.head(f"/g/{gif_id}.gif?download=1")
    for answer in (download, head):
        assert answer.headers["content-length"] == str(len(images.gif()))


def stored(content_type: str, frames: int, **versions: tuple[str, int, int]) -> StoredFile:
    """A picture of 2,000 × 1,000 pixels, with versions of a type, a width and a size."""
    made = {
        name: StoredVersion("store", f"{name}.{kind.split('/')[1]}", kind, size, width, width // 2)
        for name, (kind, width, size) in versions.items()
    }
    key = f"original.{content_type.split('/')[1]}"
    facts = {"storage": "store", "key": key, "filename": "a", "content_type": content_type}
    facts |= {"bytes": 9_000_000, "sha256": "", "width": 2000, "height": 1000, "frames": frames}
    return StoredFile(**facts, duration_ms=0, loop=0, versions=made)


WEBP = stored(
    "image/webp",
    9,
    preview=("image/webp", 480, 200),
    poster=("image/webp", 500, 10),
    mediumgif=("image/gif", 480, 900_000),
    tinygif=("image/gif", 220, 90_000),
    nanogif=("image/gif", 160, 30_000),
)
HEAVY = stored(
    "image/gif", 9, preview=("image/gif", 480, 6_000_000), tinygif=("image/gif", 220, 900_000)
)


@pytest.mark.parametrize(
    ("file", "box", "path"),
    [
        (WEBP, (), "/g/x/mediumgif.gif"),
        (WEBP, (300, 300), "/g/x/tinygif.gif"),
        (WEBP, (480, 239), "/g/x/tinygif.gif"),
        (WEBP, (10, 10), "/g/x/nanogif.gif"),
        (HEAVY, (), "/g/x/tinygif.gif"),
        (stored("image/tiff", 1, preview=("image/png", 480, 10)), (), "/g/x/preview.png"),
        (stored("image/avif", 1, preview=("image/avif", 480, 10)), (), "/g/x/preview.avif"),
        # An earlier release made no GIF of an animated WebP
        (stored("image/webp", 9, thumb=("image/webp", 220, 10)), (), "/g/x/thumb.webp"),
    ],
)
def test_which_picture_a_preview_gets(file: StoredFile, box: tuple[int, ...], path: str):
    found = picture_of("x", file, *box)

    assert found is not None
    assert found.path == path


def test_a_poster_is_not_the_gif():
    assert file_as(WEBP, "webp") is WEBP
    assert file_as(HEAVY, "webp") is None
    film = stored("video/mp4", 9, poster=("image/webp", 480, 1), webp=("image/webp", 300, 1))
    assert file_as(film, "webp") is film.versions["webp"]


def test_the_part_that_an_edit_cut_off_is_not_shared():
    cut = stored("image/gif", 9, full=("image/gif", 900, 10), preview=("image/gif", 480, 10))
    film = stored("video/mp4", 9, fullmp4=("video/mp4", 900, 10), mp4=("video/mp4", 480, 10))
    assert file_as(cut, "gif", edited=True) is cut.versions["full"]
    assert file_as(film, "mp4", edited=True) is film.versions["fullmp4"]
    # … nor is the original, before a worker has made that
    assert file_as(HEAVY, "gif", edited=True) is HEAVY.versions["preview"]
    assert file_as(stored("image/png", 1), "png", edited=True) is None
    # Previews have the size that they always have
    shown = picture_of("x", cut)
    assert shown is not None
    assert shown.path == "/g/x/preview.gif"


def test_what_moves_is_shared_as_a_gif():
    def path(file: StoredFile) -> str:
        found = own_file("x", file)
        return "" if found is None else found.path

    assert path(WEBP) == path(HEAVY) == "/g/x.gif"
    assert path(stored("image/png", 1, thumb=("image/png", 220, 1))) == "/g/x.png"
    assert path(stored("image/heic", 1, thumb=("image/jpeg", 220, 1))) == "/g/x.jpeg"
    assert path(stored("image/heic", 1)) == ""
