"""Decides which versions of one upload are made, and of what each is made.

A version that records a recipe is planned on the file that its recipe begins with: the original, or
a file that a method of the user's has made. So each is resized once, not once per ancestor.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gifster.imaging.image_info import ImageInfo
from gifster.imaging.recipe import Image
from gifster.uploads.versions.declaring import Version, versions_of


@dataclass(frozen=True)
class PlannedVersion:
    """One version to make.

    Attributes:
      source: the name of the version whose file it is made of; None is the original.
      recipe: the recipe; None if a method makes the file.
      later: whether it comes after the others are shown.
      wanted: whether it is to be stored. Otherwise another one is made of it.
    """

    version: Version
    source: str | None
    recipe: Image | None
    later: bool
    wanted: bool

    @property
    def name(self) -> str:
        """The version's name."""
        return self.version.name


def plan_versions(
    uploader: Any, info: ImageInfo, shown: Image, names: Collection[str] | None
) -> list[PlannedVersion]:
    """The versions of an upload, each after those that it builds on.

    Parameters:
      info: the facts of the original.
      shown: the recipe with which those of the versions begin.
      names: the versions that are wanted; None means all.
    """
    made: dict[str | None, PlannedVersion] = {}
    for version in versions_of(type(uploader)).values():
        parent = made.get(version.of)
        if (version.of is not None and parent is None) or not version.is_due(uploader, info):
            continue
        wanted = names is None or version.name in names
        if version.file:
            later = version.later or (parent is not None and parent.later)
            made[version.name] = PlannedVersion(version, version.of, None, later, wanted)
            continue
        source, recipe = None, shown
        if parent is not None:
            source, recipe = parent.source, parent.recipe or Image()
            if parent.recipe is None:
                source = parent.name
        if source is None and not info.is_image:
            continue
        later = version.later or (source is not None and made[source].later)
        recorded = version.record(uploader, recipe)
        made[version.name] = PlannedVersion(version, source, recorded, later, wanted)
    return _needed(list(made.values()))


def _needed(planned: list[PlannedVersion]) -> list[PlannedVersion]:
    """Those that are wanted, and those that they are made of."""
    sources: set[str | None] = set()
    kept: list[PlannedVersion] = []
    for item in reversed(planned):
        if item.wanted or item.name in sources:
            sources.add(item.source)
            kept.insert(0, item)
    return kept
