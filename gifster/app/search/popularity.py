"""Counts how often GIFs are used and words are searched for."""


def used(gif_id: str, q: str = "") -> None:
    """Count that somebody shared or copied a GIF.

    Parameters:
      q: the search that had found it.
    """


def searched(q: str) -> None:
    """Count a search that had results. Nobody can tell later who has searched."""
