"""GIFs that are there already: copies of the same file, and near duplicates."""

import base64
import io
import random
from typing import Any

import PIL.Image

from gifster.app.models import fingerprint_parts
from gifster.uploads import placeholder
from tests import images
from tests.stack import Stack


def picture(seed: int, size: tuple[int, int] = (300, 200), format: str = "PNG") -> bytes:
    """A picture without near duplicates, unless the seed is the same."""
    noise = PIL.Image.frombytes("RGB", (6, 5), random.Random(seed).randbytes(90))
    made = io.BytesIO()
    noise.resize(size, PIL.Image.Resampling.BICUBIC).save(made, format)
    return made.getvalue()


def upload(stack: Stack, content: bytes, title: str = "") -> dict[str, Any]:
    return stack.finished(stack.upload(content, title=title).json()["id"])


def test_a_copy_is_found_at_its_upload(stack: Stack):
    first = upload(stack, picture(1))

    again = stack.upload(picture(1)).json()

    assert again["duplicate_of"] == first["id"]
    assert stack.gif(again["id"])["duplicate_of"] == first["id"]
    assert stack.gif(first["id"])["duplicate_of"] is None
    # Once the first is gone, the second is the oldest
    stack.client.delete(f"/api/gifs/{first['id']}")
    assert stack.gif(again["id"])["duplicate_of"] is None


def test_lists_name_copies_too(stack: Stack):
    first = upload(stack, picture(2), "Twice")
    again = upload(stack, picture(2), "Twice")

    listed = stack.client.get("/api/gifs?q=Twice").json()["items"]

    assert [gif["duplicate_of"] for gif in listed] == [first["id"], None]
    assert [gif["id"] for gif in listed] == [again["id"], first["id"]]


def test_a_failed_gif_has_no_copies(stack: Stack):
    damaged = bytearray(images.still("PNG", (31, 17)))
    damaged[60:90] = bytes(30)
    assert upload(stack, bytes(damaged))["state"] == "failed"

    assert stack.upload(bytes(damaged)).json()["duplicate_of"] is None


def test_a_new_image_has_other_duplicates(stack: Stack):
    first, other = upload(stack, picture(3)), upload(stack, picture(4))

    files = {"image": ("a.png", picture(3), "image/png")}
    replaced = stack.client.put(f"/api/gifs/{other['id']}/image", files=files).json()

    assert replaced["duplicate_of"] == first["id"]


def test_near_duplicates_are_found_in_other_sizes_and_formats(stack: Stack):
    one = upload(stack, picture(5))
    small = upload(stack, picture(5, (150, 100)))
    jpeg = upload(stack, picture(5, (270, 180), "JPEG"))
    upload(stack, picture(6))

    assert set(stack.gif(one["id"])["similar"]) == {small["id"], jpeg["id"]}
    assert set(stack.gif(jpeg["id"])["similar"]) == {one["id"], small["id"]}


def test_a_blank_picture_has_no_near_duplicates(stack: Stack):
    def blank(size: int) -> bytes:
        made = io.BytesIO()
        PIL.Image.new("RGB", (size, size), "navy").save(made, "PNG")
        return made.getvalue()

    upload(stack, blank(91))

    assert stack.gif(upload(stack, blank(92))["id"])["similar"] == []


def test_deleted_and_replaced_images_are_no_near_duplicates_any_more(stack: Stack):
    one, two, three = (upload(stack, picture(7, (200 + n, 150))) for n in range(3))
    stack.client.delete(f"/api/gifs/{two['id']}")
    files = {"image": ("a.png", picture(8), "image/png")}
    stack.client.put(f"/api/gifs/{three['id']}/image", files=files)
    stack.finished(three["id"])

    assert stack.gif(one["id"])["similar"] == []


def test_hashes_that_differ_in_three_bits_have_a_quarter_in_common():
    chance = random.Random(1)
    for _ in range(200):
        bits = chance.getrandbits(64) | 1
        other = bits
        for at in chance.sample(range(1, 64), 3):
            other ^= 1 << at
        assert set(fingerprint_parts(f"{bits:016x}")) & set(fingerprint_parts(f"{other:016x}"))


def test_a_placeholder_is_a_small_picture_without_transparency(stack: Stack):
    clear = io.BytesIO()
    PIL.Image.new("RGBA", (90, 60), (200, 30, 60, 90)).save(clear, "PNG")

    known = upload(stack, picture(9))["placeholder"]
    uri = placeholder(known["thumbhash"])

    assert known["color"].startswith("#")
    assert uri.startswith("data:image/webp;base64,")
    assert len(uri) < 600
    with PIL.Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as tiny:
        assert max(tiny.size) <= 32
    assert placeholder(upload(stack, clear.getvalue())["placeholder"]["thumbhash"]) == ""
    assert placeholder(None) == ""
