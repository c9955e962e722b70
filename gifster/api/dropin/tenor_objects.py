"""What Tenor v2 answers with. Each field is there in every result, and of the type that the
strictest client wants: whole numbers for sizes (Commet), a list for `flags` (Stoat)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NotRequired
from urllib.parse import urlencode

from typing_extensions import TypedDict

from gifster.api.dropin.addresses import Addresses
from gifster.api.dropin.found import Item
from gifster.api.dropin.renditions import (
    GIF,
    MOST_BYTES,
    MP4,
    STILL,
    WEBM,
    WEBP,
    File,
    Side,
    Wanted,
)
from gifster.app.models import Gif

_SMALL = {
    "gif": Wanted(GIF, most_bytes=MOST_BYTES),
    "mediumgif": Wanted(GIF, Side.BOX, 480),
    "tinygif": Wanted(GIF, Side.WIDTH, 220),
    "nanogif": Wanted(GIF, Side.HEIGHT, 90),
}
#: Tenor's formats, and what it says about their sizes.
FORMATS = {
    **_SMALL,
    "mp4": Wanted(MP4, Side.BOX, 480),
    "loopedmp4": Wanted(MP4, Side.BOX, 480),
    "tinymp4": Wanted(MP4, Side.BOX, 320),
    "nanomp4": Wanted(MP4, Side.BOX, 150),
    "webm": Wanted(WEBM, Side.BOX, 480),
    "tinywebm": Wanted(WEBM, Side.BOX, 320),
    "nanowebm": Wanted(WEBM, Side.BOX, 150),
    "webp": Wanted(WEBP, Side.BOX, 480),
    "preview": Wanted(STILL, Side.BOX, 480),
    "gifpreview": Wanted(STILL, Side.BOX, 480),
    "tinygifpreview": Wanted(STILL, Side.WIDTH, 220),
    "nanogifpreview": Wanted(STILL, Side.HEIGHT, 90),
}
#: Those of stickers, and those that somebody must ask for by name.
OF_STICKERS = {
    **{f"{name}_transparent": wanted for name, wanted in _SMALL.items() if name != "mediumgif"},
    "webp_transparent": Wanted(WEBP, Side.BOX, 480),
    "tinywebp_transparent": Wanted(WEBP, Side.WIDTH, 220),
    "nanowebp_transparent": Wanted(WEBP, Side.HEIGHT, 90),
}
BY_NAME = {
    **FORMATS,
    **OF_STICKERS,
    "tinywebp": Wanted(WEBP, Side.WIDTH, 220),
    "nanowebp": Wanted(WEBP, Side.HEIGHT, 90),
    "png_transparent": Wanted(STILL, Side.BOX, 480),
    "preview_transparent": Wanted(STILL, Side.BOX, 480),
    "gifpreview_transparent": Wanted(STILL, Side.BOX, 480),
    "tinygifpreview_transparent": Wanted(STILL, Side.WIDTH, 220),
    "nanogifpreview_transparent": Wanted(STILL, Side.HEIGHT, 90),
}
#: What old clients ask for, in the words of Tenor v1.
SETS = {
    "minimal": ("tinygif", "gif", "mp4"),
    "basic": ("nanomp4", "tinygif", "tinymp4", "gif", "mp4", "nanogif"),
}
VIDEOS = {MP4, WEBM}


class Media(TypedDict):
    """A file."""

    url: str
    dims: list[int]
    duration: float
    size: int
    preview: str


class Result(TypedDict):
    """A GIF."""

    id: str
    title: str
    media_formats: dict[str, Media]
    created: float
    content_description: str
    content_description_source: str
    itemurl: str
    url: str
    tags: list[str]
    flags: list[str]
    hasaudio: bool
    hascaption: bool
    bg_color: NotRequired[str]


class Category(TypedDict):
    """A search that somebody can begin with, and its picture."""

    searchterm: str
    path: str
    image: str
    name: str


@dataclass(frozen=True)
class Formats:
    """The formats to answer with.

    Parameters:
      wanted: by name.
      named: whether the client has named them. Then each must be in every result, or the client
        throws all of them away.
    """

    wanted: dict[str, Wanted]
    named: bool


def formats(names: Iterable[str], *, stickers: bool) -> Formats:
    """The formats to answer with.

    Parameters:
      names: the words of `media_filter`. Unknown ones count as absent.
      stickers: whether stickers are wanted.
    """
    wanted: dict[str, Wanted] = {}
    for name in names:
        for one in SETS.get(name, (name,)):
            if one in BY_NAME:
                wanted[one] = BY_NAME[one]
    if wanted:
        return Formats(wanted, named=True)
    return Formats(FORMATS | OF_STICKERS if stickers else FORMATS, named=False)


def result(item: Item, formats: Formats, addresses: Addresses) -> Result:
    """A GIF as a result."""
    gif, renditions, named = item.gif, item.renditions, formats.named
    stored, whole = renditions.stored, renditions.find(FORMATS["gif"])
    duration = renditions.picture.duration_ms / 1000 if renditions.picture else 0.0
    made: dict[int, Media] = {}
    media: dict[str, Media] = {}
    for name, one in formats.wanted.items():
        file, called = renditions.find(one, instead=named or one.kind == STILL), name
        if file is None and named:
            file, called = whole, "gif"  # no still has a video, and `/media` finds none for it
        if file is None:
            continue
        key = id(file) if addresses.direct else id(one)
        known = made.get(key)
        if known is None:
            moving = duration if one.kind != STILL else 0.0
            known = made[key] = _media(gif, file, called, moving, addresses)
        media[name] = known
    flags = [("sticker", item.is_sticker), ("static", stored.frames == 1)]
    answer: Result = {
        "id": gif.id,
        "title": gif.title,
        "media_formats": media,
        "created": gif.created_at.timestamp(),
        "content_description": gif.alt_text or gif.title,
        "content_description_source": "",
        # Some clients take this with `.gif` behind it for the file, as Tenor does.
        "itemurl": addresses.link(gif.id),
        "url": media["gif"]["url"] if "gif" in media else _address(gif, whole, addresses),
        "tags": item.tags,
        "flags": [name for name, is_so in flags if is_so],
        "hasaudio": False,
        "hascaption": False,
    }
    if stored.color:
        answer["bg_color"] = stored.color
    return answer


def _address(gif: Gif, file: File | None, addresses: Addresses) -> str:
    return addresses.page(gif.id) if file is None else addresses.file(gif.id, file, "gif")


def _media(gif: Gif, file: File, name: str, duration: float, addresses: Addresses) -> Media:
    return {
        "url": addresses.file(gif.id, file, name),
        "dims": [file.width, file.height],
        "duration": duration,
        "size": file.bytes,
        "preview": "",
    }


def category(
    term: str, name: str, image: str, addresses: Addresses, repeated: Collection[tuple[str, str]]
) -> Category:
    """A category.

    Parameters:
      term: what it searches for.
      name: what people see.
      repeated: the caller's parameters, which the search repeats.
    """
    query = urlencode([("q", term), *repeated])
    return {
        "searchterm": term,
        "path": f"{addresses.home}{addresses.place}/v2/search?{query}",
        "image": image,
        "name": name,
    }
