"""Open HEIC by libheif, which pillow-heif brings (the extra `heic`)."""

import importlib
import importlib.util

#: The brands of pictures and sequences that are compressed by HEVC (ISO/IEC 23008-12, B.4).
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def is_available() -> bool:
    """Whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def check_available() -> None:
    """Raises `ModuleNotFoundError`, which says what to install, unless pillow-heif is installed."""
    if not is_available():
        raise ModuleNotFoundError(
            "HEIC needs pillow-heif, which is not installed: pip install 'gifster[heic]'",
            name="pillow_heif",
        )


def register() -> None:
    """Let Pillow open HEIC."""
    check_available()
    heif = importlib.import_module("pillow_heif")
    heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
