"""Places for waiting requests: event streams, and pages that wait for a change.

A waiting request costs little, but thousands of them with a hundred GIFs each would slow down
everybody else. So each address has a limited number of places, and so has each web process. Every
process counts for itself.
"""

from collections.abc import Sized

#: How many requests may wait in one web process, and how many GIFs they may name together.
MOST_WAITING, MOST_NAMED = 2_000, 10_000


class NoPlace(Exception):
    """Too many requests wait already."""


class Place:
    """The place of one waiting request."""

    def __init__(self, places: "Places", address: str, named: int) -> None:
        self._places: Places | None = places
        self._address, self._named = address, named

    def leave(self) -> None:
        """Give the place back. Does nothing the second time."""
        if self._places is not None:
            self._places._left(self._address, self._named)
            self._places = None


class Places:
    """The places of one web process.

    Parameters:
      of_address: how many requests of one address may wait at a time; None for any number.
    """

    def __init__(self, of_address: int | None) -> None:
        self._of_address = of_address
        self._by_address: dict[str, int] = {}
        self._here = self._named = 0

    def take(self, address: str, gif_ids: Sized) -> Place:
        """Take a place.

        Parameters:
          address: the client's.
          gif_ids: the GIFs that it waits for.

        Raises:
          NoPlace: all places are taken, those of this address or those of the process.
        """
        mine = self._by_address.get(address, 0)
        if self._of_address is not None and mine >= self._of_address:
            raise NoPlace(f"Your address has {mine} requests waiting already.")
        if self._here >= MOST_WAITING or self._named + len(gif_ids) > MOST_NAMED:
            raise NoPlace("Too many requests are waiting now.")
        self._by_address[address] = mine + 1
        self._here += 1
        self._named += len(gif_ids)
        return Place(self, address, len(gif_ids))

    def _left(self, address: str, named: int) -> None:
        self._here -= 1
        self._named -= named
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
