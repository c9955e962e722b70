"""Writes what GIFs are found by, in the transaction of their rows."""

from collections.abc import Sequence

from gifster.app.models import Gif


def put(gif: Gif, tags: Sequence[str]) -> None:
    """Let a GIF be found by its present texts and tags. To be called in the transaction that
    changes them."""


def remove(gif_id: str) -> None:
    """Let a GIF be found no more."""
