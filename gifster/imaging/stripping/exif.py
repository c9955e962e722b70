"""The least EXIF: an orientation, and nothing else (TIFF 6.0, section 2)."""

import struct

from gifster.imaging import orientation


def minimal(exif: bytes) -> bytes:
    """EXIF with the orientation of other EXIF alone; empty if that is upright, or damaged."""
    found = orientation.of_exif(exif[: orientation.MAX_EXIF_BYTES])
    if found == 1:
        return b""
    # A directory of one entry: its tag, SHORT, one value, the value; no next directory.
    return b"MM\0*" + struct.pack(">LHHHLHHL", 8, 1, 0x0112, 3, 1, found, 0, 0)
