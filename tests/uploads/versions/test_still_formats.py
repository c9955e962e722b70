"""BMP, TIFF and HEIC as uploads: taken by default, with versions that browsers show."""

from typing import Any

import pytest

from gifster.imaging import heic
from gifster.uploads import Image, ImageInfo, Uploader, derivation, mount_uploader, version
from gifster.uploads.errors import TooManyPixels
from tests import images
from tests.uploads.framework import Application, Base


def saved(content_type: str) -> bytes:
    if content_type == "image/heic":
        return images.heic()
    return images.still(content_type.partition("/")[2].upper())


@pytest.mark.parametrize(
    ("content_type", "ending", "shown_as"),
    [
        ("image/bmp", "bmp", "image/png"),
        ("image/tiff", "tif", "image/png"),
        ("image/heic", "heic", "image/jpeg"),
    ],
)
def test_the_original_keeps_its_format_and_versions_are_shown_by_browsers(
    application: Application, content_type: str, ending: str, shown_as: str
):
    class PhotoUploader(Uploader):
        derivations_url = "/derivations"

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(60, 60)

        @version
        def same(self, image: Image) -> Image:
            return image

        @derivation
        def box(self, image: Image) -> Image:
            return image.fill(20, 20)

    class Photo(Base):
        file = mount_uploader(PhotoUploader)

        class Meta:
            table_name = f"photo_{ending}"

    application.create_tables(Photo)
    photo: Any = Photo(file=saved(content_type))
    photo.save()

    stored = Photo.get_by_id(photo.id).file.stored
    assert (stored.content_type, stored.width, stored.height) == (content_type, 300, 200)
    assert stored.key.endswith(f".{ending}")
    assert {made.content_type for made in stored.versions.values()} == {shown_as}
    url = Photo.get_by_id(photo.id).file.derivation_url("box")
    assert url.endswith(".png" if shown_as == "image/png" else ".jpg")
    assert (stored.versions["thumb"].width, stored.versions["same"].width) == (60, 300)


def test_heic_that_cannot_be_read_names_its_extra_when_the_class_is_made(monkeypatch):
    monkeypatch.setattr(heic, "is_available", lambda: False)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gifster\[heic\]'"):

        class PhotoUploader(Uploader):
            allow_types = {"image/heic", "image/jpeg"}


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "heic", "bmp", "tiff"])
def test_a_photograph_of_12_million_pixels_is_taken_in_every_format(kind: str):
    Uploader.check_info(ImageInfo(f"image/{kind}", 4032, 3024))


def test_a_picture_that_is_too_large_says_how_many_pixels_are_taken():
    for kind, limit in (("jpeg", "40"), ("webp", "16.6"), ("heic", "24.9")):
        with pytest.raises(TooManyPixels, match=f"the limit is {limit} million"):
            Uploader.check_info(ImageInfo(f"image/{kind}", 8000, 5500))


def test_an_animation_may_have_as_many_pixels_as_before():
    with pytest.raises(TooManyPixels, match=r"the limit is 8\.3 million"):
        Uploader.check_info(ImageInfo("image/webp", 4032, 3024, frames=2))
