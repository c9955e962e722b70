"""What GIPHY v1 answers with. Its numbers within `images` are texts."""

import functools
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from gifster.api.dropin.addresses import Addresses
from gifster.api.dropin.found import Item
from gifster.api.dropin.renditions import (
    GIF,
    MOST_BYTES,
    MP4,
    STILL,
    WEBP,
    Renditions,
    Side,
    Wanted,
)
from gifster.app.models import Gif
from gifster.app.search.analyser import fold

#: What GIPHY writes for a GIF that never was among the trending ones.
NEVER = "0000-00-00 00:00:00"
_NO_WORD = re.compile(r"[^a-z0-9]+")

Image = dict[str, str]

_wanted = functools.cache(Wanted)
#: By the name of a rendition: its name in a media address, its size, and the types it comes in.
MOVING: dict[str, tuple[str, Side, int, tuple[str, ...]]] = {
    "original": ("giphy", Side.BOX, 480, (GIF, MP4, WEBP)),
    "fixed_height": ("200", Side.HEIGHT, 200, (GIF, MP4, WEBP)),
    "fixed_height_downsampled": ("200_d", Side.HEIGHT, 200, (GIF, WEBP)),
    "fixed_height_small": ("100", Side.HEIGHT, 100, (GIF, MP4, WEBP)),
    "fixed_width": ("200w", Side.WIDTH, 200, (GIF, MP4, WEBP)),
    "fixed_width_downsampled": ("200w_d", Side.WIDTH, 200, (GIF, WEBP)),
    "fixed_width_small": ("100w", Side.WIDTH, 100, (GIF, MP4, WEBP)),
    "original_mp4": ("giphy", Side.BOX, 480, (MP4,)),
    "looping": ("giphy-loop", Side.BOX, 480, (MP4,)),
    "preview": ("giphy-preview", Side.BOX, 150, (MP4,)),
}
#: Those of which the URL is a file of one wanted kind.
SINGLE: dict[str, tuple[str, Wanted]] = {
    "original_still": ("giphy_s", _wanted(STILL, Side.BOX, 480)),
    "fixed_height_still": ("200_s", _wanted(STILL, Side.HEIGHT, 200)),
    "fixed_height_small_still": ("100_s", Wanted(STILL, Side.HEIGHT, 100)),
    "fixed_width_still": ("200w_s", Wanted(STILL, Side.WIDTH, 200)),
    "fixed_width_small_still": ("100w_s", Wanted(STILL, Side.WIDTH, 100)),
    "downsized_still": ("giphy-downsized_s", _wanted(STILL, Side.BOX, 480)),
    "480w_still": ("480w_s", Wanted(STILL, Side.WIDTH, 480)),
    "downsized": ("giphy-downsized", Wanted(GIF, most_bytes=2_000_000)),
    "downsized_medium": ("giphy-downsized-medium", Wanted(GIF, most_bytes=5_000_000)),
    "downsized_large": ("giphy-downsized-large", Wanted(GIF, most_bytes=MOST_BYTES)),
    "preview_gif": ("giphy-preview", Wanted(GIF, Side.HEIGHT, 90)),
    "preview_webp": ("giphy-preview", Wanted(WEBP, Side.HEIGHT, 90)),
}
#: An MP4 of at most 200 kB.
DOWNSIZED_SMALL = ("giphy-downsized-small", Wanted(MP4, most_bytes=200_000))
#: Those that a random GIF names once more.
_OF_RANDOM = (
    "fixed_height_downsampled",
    "fixed_width_downsampled",
    "fixed_height_small",
    "fixed_width_small",
)
#: The names of a file's URL and size.
_KEYS = {
    GIF: ("url", "size"),
    MP4: ("mp4", "mp4_size"),
    WEBP: ("webp", "webp_size"),
}
#: All of them: their files, each with the names of its URL and its size, and what is looked for.
_FILES = [
    *(
        (rendition, name, [(*_KEYS[kind], _wanted(kind, side, pixels)) for kind in kinds])
        for rendition, (name, side, pixels, kinds) in MOVING.items()
    ),
    *((rendition, name, [("url", "size", one)]) for rendition, (name, one) in SINGLE.items()),
    ("downsized_small", DOWNSIZED_SMALL[0], [("mp4", "mp4_size", DOWNSIZED_SMALL[1])]),
]


def images(gif: Gif, renditions: Renditions, addresses: Addresses) -> dict[str, Image]:
    """All renditions of a GIF. The first file of each gives it its width and height."""
    made: dict[str, Image] = {}
    find, url = renditions.find, addresses.file
    for rendition, name, files in _FILES:
        image: Image = {}
        for address, size, wanted in files:
            if (file := find(wanted)) is not None:
                if not image:
                    image["width"], image["height"] = str(file.width), str(file.height)
                image[address], image[size] = url(gif.id, file, name), str(file.bytes)
        if image:
            made[rendition] = image
    picture = renditions.picture
    if picture is not None:
        made["original"] |= {"frames": str(picture.frames), "hash": picture.file.sha256[:32]}
    return made


def gif_object(item: Item, addresses: Addresses) -> dict[str, Any]:
    """A GIF."""
    gif = item.gif
    page = addresses.page(gif.id)
    words = _NO_WORD.sub("-", fold(gif.title)).strip("-")
    counted = f"{addresses.home}/v1/analytics?gif_id={gif.id}&action="
    return {
        "type": "gif",
        "id": gif.id,
        "slug": f"{words}-{gif.id}" if words else gif.id,
        "url": page,
        "bitly_url": page,
        "bitly_gif_url": page,
        "embed_url": f"{addresses.home}/embed/{gif.id}",
        "username": "",
        "source": "",
        "title": gif.title,
        "alt_text": gif.alt_text,
        "rating": gif.rating,
        "content_url": "",
        "source_tld": "",
        "source_post_url": "",
        "is_sticker": int(item.is_sticker),
        "is_low_contrast": False,
        "import_datetime": written(gif.created_at),
        "trending_datetime": NEVER,
        "tags": item.tags,
        "images": images(gif, item.renditions, addresses),
        "analytics_response_payload": f"gif={gif.id}",
        "analytics": {
            action: {"url": f"{counted}{action}"} for action in ("onload", "onclick", "onsent")
        },
    }


def at_random(gif: dict[str, Any]) -> dict[str, Any]:
    """A GIF with the fields that a random one had before it had `images`. Many bots, and the models
    of several clients, still read them."""
    images: dict[str, Image] = gif["images"]
    original = images["original"]
    fields = {
        "image_original_url": original["url"],
        "image_url": original["url"],
        "image_mp4_url": original.get("mp4", ""),
        "image_frames": original.get("frames", "1"),
        "image_width": original["width"],
        "image_height": original["height"],
        "caption": "",
    }
    for name in _OF_RANDOM:
        image = images[name]
        fields |= {f"{name}_{part}": image[part] for part in ("url", "width", "height")}
        if still := images.get(f"{name}_still"):
            fields[f"{name}_still_url"] = still["url"]
    return gif | fields


def written(moment: datetime) -> str:
    """A moment as GIPHY writes it, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def term(name: str) -> dict[str, str]:
    """A word that somebody may search for."""
    return {"name": name, "analytics_response_payload": ""}


def category(name: str) -> dict[str, Any]:
    """A category, without its picture."""
    return {"name": name, "name_encoded": quote_plus(name)}
