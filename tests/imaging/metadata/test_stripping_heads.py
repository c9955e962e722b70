"""The metadata in the first bytes of a file goes before the rest has come."""

import io
import random
from dataclasses import replace

import pytest

from chaos import damage
from gifster.imaging import probe
from gifster.imaging.errors import ImagingError
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.stripping import stripped, without_metadata
from tests import images
from tests.imaging import carriers
from tests.imaging.carriers import ALL, SECRET

TURNED = {"JPEG, turned": carriers.jpeg(6), "PNG, turned": carriers.png(6)}
ONE_BY_ONE = {n: c for n, c in (ALL | TURNED).items() if n.startswith(("GIF", "JPEG", "PNG"))}


def strip(content: bytes) -> bytes | type[Exception]:
    try:
        pieces = stripped(io.BytesIO(content), probe.sniff(content[: probe.SNIFF_BYTES]))
    except (ImagingError, KeyError) as error:
        return type(error)
    return b"".join(pieces.read(io.BytesIO(content)))


def facts(content: bytes) -> ImageInfo | type[Exception] | None:
    try:
        info = probe.glance(content)
    except ImagingError as error:
        return type(error)
    return info and replace(info, bytes=0)


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_the_picture_is_the_same_wherever_the_head_ends(name: str):
    content, chance = ONE_BY_ONE[name], random.Random(1)
    whole, known = strip(content), facts(content)

    for end in chance.sample(range(1, len(content)), 400):
        made = without_metadata(content[:end]) + content[end:]
        assert strip(made) == whole, end
        assert facts(made) == known, end


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_the_same_holds_for_damaged_files(name: str):
    chance = random.Random(2)
    for _ in range(40):
        content = damage.mutate(ONE_BY_ONE[name], chance)
        whole, known = strip(content), facts(content)
        for _ in range(5):
            end = chance.randint(1, max(1, len(content)))
            made = without_metadata(content[:end]) + content[end:]
            assert strip(made) == whole, (content, end)
            assert facts(made) == known, (content, end)


@pytest.mark.parametrize("name", ["GIF", "JPEG", "JPEG, turned", "PNG", "PNG, turned"])
def test_what_comes_before_the_picture_is_gone_at_once(name: str):
    # Given a file of which the last bytes have not come yet
    content = ONE_BY_ONE[name]
    picture = strip(content)
    assert isinstance(picture, bytes)
    head = content[: content.index(picture[-20:])]
    assert SECRET in head

    # I expect the head to be that of the stripped file, which is not stripped again
    made = without_metadata(head)
    assert SECRET not in made
    assert picture.startswith(made)
    assert stripped(io.BytesIO(picture), probe.sniff(picture)).are_all


@pytest.mark.parametrize("name", ["WebP", "AVIF", "TIFF"])
def test_formats_whose_first_bytes_tell_about_the_rest_wait_for_it(name: str):
    assert without_metadata(ALL[name][:200]) == ALL[name][:200]


def test_an_orientation_with_a_wrong_checksum_does_not_count_as_in_browsers():
    content = images.still("PNG", (40, 30))
    turning = carriers.chunk(b"eXIf", carriers.exif(6), crc=1)

    assert strip(content[:33] + turning + content[33:]) == content
