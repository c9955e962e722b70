"""Hostile and damaged images: each is refused, fails or gets its versions, within the limits.
A short form of `make decoders`."""

from pathlib import Path

import pytest

from chaos import bombs, damage
from chaos.decoders import attack, mutations
from gifster.imaging.errors import ImagingError
from gifster.imaging.probe import probe
from gifster.uploads import UploadError
from gifster.uploads.files.validation import Limits
from tests.combinations import only_in_ci
from tests.machine import ALL_EXAMPLES, examples

SEED, MUTATIONS = 7, examples(30, of=150)
#: The heavy images that are tried every day: the cheapest of each way through the engine. CI tries
#: all of `damage.HEAVY`.
DAILY = [
    "GIF of 40 million pixels",
    "JPEG of 40 million pixels",
    "WebP of 8 million pixels",
    "GIF of 5,000 frames of 1 × 1",
]
HEAVY = damage.HEAVY if ALL_EXAMPLES else {name: damage.HEAVY[name] for name in DAILY}


@pytest.fixture(autouse=True)
def _where_versions_are_made() -> None:
    """In the sandbox, which these tests are about."""


@pytest.mark.parametrize("name", damage.OVER_THE_LIMITS)
def test_an_image_over_the_limits_is_refused_before_it_is_decoded(name: str, tmp_path: Path):
    make, code = damage.OVER_THE_LIMITS[name]
    source = tmp_path / "source"
    source.write_bytes(make())

    with pytest.raises((ImagingError, UploadError)) as refused:
        Limits.check_info(probe(source))

    assert refused.value.code == code


@pytest.mark.parametrize("name", [*HEAVY, *damage.BOMBS])
def test_a_heavy_image_gets_its_versions_and_a_bomb_costs_one_process(name: str):
    verdict = attack(name, [(damage.HEAVY | damage.BOMBS)[name]()], ways=["versions"])

    assert verdict.wrong == []
    # A bomb may be refused without a decoder, or end within milliseconds, which nobody sees
    assert verdict.memory > 0 or name in damage.BOMBS


@only_in_ci("2.5 s; bombs of GIFs are tried daily")
def test_bombs_of_videos_and_other_stills_keep_the_limits():
    verdict = attack("bombs", [make() for make in bombs.BOMBS.values()], ways=["versions"])

    assert verdict.wrong == []
    assert verdict.counts.total() == len(bombs.BOMBS)


@only_in_ci("2 s; one recipe is tried daily")
@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("JPEG of 40 million pixels", "boxes"),
        ("WebP of 8 million pixels, 6 frames", "steps"),
        ("JPEG of 40 million pixels", "steps"),
        ("WebP of 8 million pixels, 6 frames", "boxes"),
    ][: examples(1, of=4)],
)
def test_any_recipe_of_a_heavy_image_keeps_the_limits(name: str, way: str):
    verdict = attack(f"{name}: {way}", [damage.HEAVY[name]()], ways=[way])

    assert verdict.wrong == []
    assert verdict.memory > 0


@pytest.mark.parametrize(("kind", "contents"), mutations(MUTATIONS, SEED).items())
def test_damaged_images_are_refused_or_fail_or_get_their_versions(kind: str, contents: list[bytes]):
    verdict = attack(kind, contents)

    assert verdict.wrong == []
    assert verdict.counts.total() == len(contents)
    assert verdict.counts["refused"] > 0
