"""The goals of the image engine beside gifsicle, and how far it reaches them."""

import statistics
from collections.abc import Iterator
from typing import Any

from bench.image_engines import ALL_FIVE, ALL_VERSIONS, BASE, OURS, SIDES
from bench.page import Table

#: By engine and source, what a round has found.
Found = dict[str, dict[str, dict[str, Any]]]
#: GIFs of fewer bytes are small: their bytes do not count alone.
_SMALL_BYTES = 20_000
#: More bytes are all right where the SSIM is so much better.
_MUCH_BETTER, _WORSE = 0.05, 0.005
_MOST_BYTES = 1.3


def table(made: Found, cpu: dict[str, float]) -> str:
    """Each goal, and the figure that belongs to it.

    Parameters:
      made: by engine and source, what was made.
      cpu: the CPU of each engine, as a multiple of gifsicle's.
    """
    if BASE not in made:
        return ""
    goals = Table("goal", "most or least", "found")
    for engine, most in ((OURS, 0.75), (ALL_FIVE, 1.15), (ALL_VERSIONS, 1.8)):
        if engine in cpu:
            goals.add_row(f"CPU of {engine} : {BASE}", f"≤ {most}", f"{cpu[engine]:.2f}")
    sizes = {engine: sum(map(_bytes, made[engine].values())) for engine in (OURS, BASE)}
    goals.add_row(f"bytes : {BASE}", "≤ 1.0", f"{sizes[OURS] / sizes[BASE]:.2f}")
    goals.add_row(
        f"files of {_SMALL_BYTES // 1000} kB or more with {_MOST_BYTES} times its bytes",
        "0", _listed(_too_large(made)),
    )  # fmt: skip
    for at, side in enumerate(SIDES):
        least = ("≥ 0.982 (others: 0.975)", "≥ 0.98 (others: 0.97)")[at]
        ssim = statistics.mean(its["ssim"][at] for its in made[OURS].values())
        goals.add_row(f"SSIM {side}", least, f"{ssim:.3f}")
    goals.add_row(f"files more than {_WORSE} below its SSIM", "0", _listed(_worse(made)))
    goals.add_row("GIFs larger than their original", "0", _listed(_grown(made)))
    return str(goals)


def _bytes(its: dict[str, Any]) -> int:
    return sum(its["bytes"])


def _too_large(made: Found) -> Iterator[str]:
    for source, its in made[BASE].items():
        ours = made[OURS][source]
        gain = statistics.mean(ours["ssim"]) - statistics.mean(its["ssim"])
        ratio = _bytes(ours) / _bytes(its)
        if ours["original"] >= _SMALL_BYTES and ratio > _MOST_BYTES and gain < _MUCH_BETTER:
            yield f"{source} ({ratio:.2f}, SSIM {gain:+.3f})"


def _worse(made: Found) -> Iterator[str]:
    for source, its in made[BASE].items():
        for side, one, other in zip(SIDES, made[OURS][source]["ssim"], its["ssim"], strict=True):
            if one < other - _WORSE:
                yield f"{source} ({side}: {one:.3f}, {other:.3f})"


def _grown(made: Found) -> Iterator[str]:
    for source, its in made[OURS].items():
        if max(its["bytes"]) > its["original"]:
            yield f"{source} ({max(its['bytes'])}, {its['original']})"


def _listed(names: Iterator[str]) -> str:
    found = list(names)
    return f"{len(found)}: {', '.join(found)}" if found else "0"
