"""Boxes: left, top, right and bottom of a part of a picture, in pixels."""

from collections.abc import Sequence

Box = tuple[int, int, int, int]


def union(one: Box, other: Box | None) -> Box:
    if other is None:
        return one
    return (
        min(one[0], other[0]), min(one[1], other[1]),
        max(one[2], other[2]), max(one[3], other[3]),
    )  # fmt: skip


def within(box: Box, whole: Box) -> Box:
    """The part of a box that is in another; one without area if there is none."""
    left, top = max(box[0], whole[0]), max(box[1], whole[1])
    return (left, top, max(left, min(box[2], whole[2])), max(top, min(box[3], whole[3])))


def is_empty(box: Box) -> bool:
    """Whether a box has no area."""
    return box[0] >= box[2] or box[1] >= box[3]


def moved(box: Box, by: Sequence[int]) -> Box:
    return (box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1])
