"""Orientation and colour profiles are applied, and all metadata is removed."""

from pathlib import Path

import PIL.Image
import PIL.ImageCms
import pytest

from gifster.imaging import Image
from gifster.imaging.probe import probe
from tests import images


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_the_size_of_a_turned_image_is_that_of_the_upright_picture(tmp_path: Path, format: str):
    source = tmp_path / "source"
    exif = PIL.Image.Exif()
    exif[0x0112] = 8
    images.frames((300, 200), 1)[0].save(source, format, exif=exif)

    assert (probe(source).width, probe(source).height) == (200, 300)


def test_versions_of_a_turned_animation_fit_upright(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    frames = images.frames((300, 200), 3)
    frames[0].save(source, "PNG", save_all=True, append_images=frames[1:], exif=exif)

    images.make(source, {target: Image().fit(150, 150).convert("gif")})

    assert (probe(target).width, probe(target).height, probe(target).frames) == (100, 150, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_colour_profiles_are_applied(tmp_path: Path, format: str):
    # Given a profile that swaps red and blue
    source, target = tmp_path / "source", tmp_path / "target"
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    PIL.Image.new("RGB", (300, 200), (200, 100, 20)).save(source, format, icc_profile=swapped)

    images.make(source, {target: Image().fit(100, 100)})

    with PIL.Image.open(target) as made:
        assert images.difference(made, PIL.Image.new("RGB", made.size, (20, 100, 200))) < 8
        assert "icc_profile" not in made.info


def test_a_damaged_profile_is_ignored(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    PIL.Image.new("RGB", (300, 200), (10, 200, 30)).save(source, "PNG", icc_profile=b"nonsense")

    images.make(source, {target: Image().fit(100, 100)})

    with PIL.Image.open(target) as made:
        assert made.convert("RGB").getpixel((5, 5)) == (10, 200, 30)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_is_removed_even_if_the_size_stays(tmp_path: Path, format: str):
    source, target = tmp_path / "source", tmp_path / "target"
    exif = PIL.Image.Exif()
    exif[0x010E] = "at home"
    picture = images.frames((80, 60), 1)[0]
    picture.save(source, format, exif=exif)
    assert b"at home" in source.read_bytes()

    images.make(source, {target: Image().fit(100, 100)})

    assert b"at home" not in target.read_bytes()
    assert images.size(target.read_bytes()) == (80, 60)
    # … and an image without metadata keeps its bytes
    picture.save(source, format)
    images.make(source, {target: Image().fit(100, 100)})
    assert target.read_bytes() == source.read_bytes()
