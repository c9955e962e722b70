"""Boxes: the left, top, right and bottom edge of a part of a picture, in pixels."""

from collections.abc import Sequence

Box = tuple[int, int, int, int]


def union(one: Box, other: Box | None) -> Box:
    """The smallest box around both."""
    if other is None:
        return one
    return (
        min(one[0], other[0]), min(one[1], other[1]),
        max(one[2], other[2]), max(one[3], other[3]),
    )  # fmt: skip


def intersection(one: Box, other: Box) -> Box:
    """The box that both share; an empty one if they do not overlap."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    return (left, top, max(left, min(one[2], other[2])), max(top, min(one[3], other[3])))


def is_empty(box: Box) -> bool:
    """Whether a box has no area."""
    return box[0] >= box[2] or box[1] >= box[3]


def moved(box: Box, by: Sequence[int]) -> Box:
    """A box moved right and down by so many pixels."""
    return (box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1])
