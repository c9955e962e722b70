"""Build ICC profiles (ICC.1:2010) of colours that a file describes in another way: by its
primaries, its white and a curve."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

#: A point of the CIE 1931 chromaticity diagram: x, y.
Point = tuple[float, float]
_Vector = tuple[float, float, float]
_Matrix = tuple[_Vector, _Vector, _Vector]

#: The white of ICC's connection space, D50 (ICC.1:2010, 7.2.16), and Bradford's cone responses.
_D50: _Vector = (0.9642, 1.0, 0.8249)
_BRADFORD: _Matrix = (
    (0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)
)  # fmt: skip
_HEADER_BYTES, _ENTRY_BYTES = 128, 12
#: The last major version of ICC that browsers read.
_LAST_VERSION = 4


class Primaries(NamedTuple):
    """The colours of a screen that shows only white, red, green or blue."""

    white: Point
    red: Point
    green: Point
    blue: Point


#: sRGB and HDTV (BT.709), P3 with the white of screens, UHDTV (BT.2020).
D65: Point = (0.3127, 0.329)
SRGB = Primaries(D65, (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
DISPLAY_P3 = Primaries(D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT_2020 = Primaries(D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046))


def is_whole(profile: bytes) -> bool:
    """Whether a profile has all bytes that its header says, of a version that browsers read."""
    says = int.from_bytes(profile[:4], "big")
    return _HEADER_BYTES < says <= len(profile) and profile[8] <= _LAST_VERSION


def rgb_profile(primaries: Primaries, curve: float | Sequence[int]) -> bytes:
    """An ICC profile of RGB colours.

    Parameters:
      curve: what makes a value linear: an exponent, or the results for equal steps (0 to 65,535).

    Raises:
      ArithmeticError: there are no such colours: the primaries lie on one line.
    """
    columns = list(zip(*_to_d50(primaries), strict=True))
    tags = [(name, _xyz(column)) for name, column in
            zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)]  # fmt: skip
    tags += [(b"wtpt", _xyz(_D50)), (b"rTRC", _curve(curve))]
    entries, data, places = b"", b"", {}
    start = _HEADER_BYTES + 4 + (len(tags) + 2) * _ENTRY_BYTES
    for name, content in tags:
        places[name] = struct.pack(">2L", start + len(data), len(content))
        entries += name + places[name]
        data += content + bytes(-len(content) % 4)
    entries += b"gTRC" + places[b"rTRC"] + b"bTRC" + places[b"rTRC"]
    table = struct.pack(">L", len(tags) + 2) + entries + data
    header = struct.pack(
        ">L4xL4s4s4s12x4s28x3l", _HEADER_BYTES + len(table), 0x04200000, b"mntr", b"RGB ", b"XYZ ",
        b"acsp", *map(_fixed, _D50),
    )  # fmt: skip
    return header.ljust(_HEADER_BYTES, b"\0") + table


def to_xyz(primaries: Primaries) -> _Matrix:
    """The matrix from linear RGB to XYZ, whose white has a Y of 1."""
    columns = [(x / y, 1.0, (1 - x - y) / y) for x, y in primaries[1:]]
    x, y = primaries.white
    shares = multiplied(inverse(transposed(columns)), (x / y, 1.0, (1 - x - y) / y))
    return transposed(
        [
            (share * column[0], share * column[1], share * column[2])
            for share, column in zip(shares, columns, strict=True)
        ]
    )


def _to_d50(primaries: Primaries) -> list[_Vector]:
    """The matrix from linear RGB to ICC's connection space, in which all whites are D50."""
    x, y = primaries.white
    seen = multiplied(_BRADFORD, (x / y, 1.0, (1 - x - y) / y))
    wanted = multiplied(_BRADFORD, _D50)
    back = inverse(_BRADFORD)
    columns = []
    for column in zip(*to_xyz(primaries), strict=True):
        cones = multiplied(_BRADFORD, column)
        adapted = [cones[k] * wanted[k] / seen[k] for k in range(3)]
        columns.append(multiplied(back, (adapted[0], adapted[1], adapted[2])))
    return list(transposed(columns))


def multiplied(matrix: _Matrix, vector: _Vector) -> _Vector:
    """A matrix times a column."""
    x, y, z = (row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2] for row in matrix)
    return x, y, z


def matrix_product(one: _Matrix, other: _Matrix) -> _Matrix:
    """A matrix times another."""
    return transposed([multiplied(one, column) for column in transposed(other)])


def transposed(rows: Sequence[_Vector]) -> _Matrix:
    """A matrix whose columns are these rows."""
    one, two, three = zip(*rows, strict=True)
    return one, two, three


def inverse(matrix: _Matrix) -> _Matrix:
    """The inverse of a matrix.

    Raises:
      ZeroDivisionError: it has none.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix
    first, second, third = e * i - f * h, f * g - d * i, d * h - e * g
    whole = a * first + b * second + c * third
    return (
        (first / whole, (c * h - b * i) / whole, (b * f - c * e) / whole),
        (second / whole, (a * i - c * g) / whole, (c * d - a * f) / whole),
        (third / whole, (b * g - a * h) / whole, (a * e - b * d) / whole),
    )


def _xyz(color: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3l", *map(_fixed, color))


def _curve(curve: float | Sequence[int]) -> bytes:
    if isinstance(curve, (int, float)):
        return b"para\0\0\0\0" + struct.pack(">HHl", 0, 0, _fixed(curve))
    return b"curv\0\0\0\0" + struct.pack(f">L{len(curve)}H", len(curve), *curve)


def _fixed(value: float) -> int:
    """An s15Fixed16Number."""
    return round(value * 65536)
