"""What a round has found, and how rounds are put together: medians, ranges, and ratios within a
round."""

import statistics
from collections.abc import Mapping, Sequence

#: The figures of each side. A figure is a number, or several that were seen in the round.
Figures = Mapping[str, Mapping[str, float | Sequence[float]]]
Rounds = Sequence[Figures]


def sides(rounds: Rounds) -> list[str]:
    """All sides of the rounds, in the order in which they first occur."""
    return list(dict.fromkeys(side for found in rounds for side in found))


def samples(rounds: Rounds, side: str, figure: str) -> list[float]:
    """All values that the rounds have of a figure of a side; none if it was not measured."""
    return [value for found in rounds for value in _values(found, side, figure)]


def by_side(rounds: Rounds, figure: str) -> dict[str, list[float]]:
    """All values of a figure, by side."""
    return {side: samples(rounds, side, figure) for side in sides(rounds)}


def ratios(rounds: Rounds, side: str, figure: str, base: str) -> list[float]:
    """A side's median divided by another's, for each round that has measured both."""
    pairs = [(_values(found, side, figure), _values(found, base, figure)) for found in rounds]
    return [statistics.median(a) / statistics.median(b) for a, b in pairs if a and b]


def spread(values: Sequence[float], form: str) -> str:
    """The median, and the lowest and highest value behind it: `2.1 (1.9 to 2.4)`.

    One value stands alone; of none, the text is empty.
    """
    if not values:
        return ""
    median, *ends = (f"{f(values):{form}}" for f in (statistics.median, min, max))
    return median if len(values) == 1 else f"{median} ({' to '.join(ends)})"


def median(values: Sequence[float], form: str) -> str:
    """The median alone; of no values, the text is empty."""
    return f"{statistics.median(values):{form}}" if values else ""


def _values(found: Figures, side: str, figure: str) -> Sequence[float]:
    value = found.get(side, {}).get(figure, ())
    return value if isinstance(value, Sequence) else (value,)
