"""`/g/{id}` leads to a GIF's page. `/g/{id}.gif`, `.webp`, `.mp4` and so on are the file itself,
and `/g/{id}/{version}.{extension}` is one of its versions.

These addresses stay: the storage's own change with each replacement, and those of a bucket expire.
A file on this machine is sent here. One in a bucket is a redirect, since many chats fetch it; with
`?download=1` it is sent here too, as a script of our page cannot read another host's files.
"""

import re
from collections.abc import Callable
from urllib.parse import quote

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import viewer_of
from gifster.api.context import Context
from gifster.api.files import Files
from gifster.api.media import guarded_url, plain_url
from gifster.api.middleware import MEDIA_POLICY
from gifster.api.problems import Problem
from gifster.api.sharing.renditions import extension_of, file_as
from gifster.app import library
from gifster.app.access import STRANGER, is_for_everybody, may_see_gif
from gifster.app.models import Gif
from gifster.app.originals import Kept, is_edited
from gifster.app.texts import Visibility
from gifster.jobs.mounted import SOON
from gifster.uploads import StoredFile
from gifster.uploads.files.filenames import clean_filename

#: How long a browser or a proxy keeps a file without asking again (seconds): a replaced picture
#: appears after that time. The redirect to a bucket is kept for half of the time that its URL has.
FRESH_S = 300

Choose = Callable[[Gif, StoredFile], Kept | None]


class ShortLink:
    """`/g/{id}`, for people. Whether there is such a GIF, its page tells."""

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        raise falcon.HTTPMovedPermanently(f"/gifs/{falcon.uri.encode_value(gif_id)}")


class SharedFiles:
    """The files of a GIF.

    Parameters:
      context: has the settings of the store.
      files: the store's.
    """

    def __init__(self, context: Context, files: Files) -> None:
        self.context, self._files = context, files
        store = context.settings.store
        self._in_bucket = store.kind == "s3"
        self._redirect_s = min(FRESH_S, store.url_expires_s // 2)

    async def on_get(self, req: Request, resp: Response, gif_id: str, extension: str) -> None:
        extension = {"jpeg": "jpg"}.get(extension.lower(), extension.lower())
        await self._send(
            req, resp, gif_id, extension,
            lambda gif, stored: file_as(stored, extension, edited=is_edited(stored, gif.edit)),
        )  # fmt: skip

    async def on_get_version(
        self, req: Request, resp: Response, gif_id: str, version: str, extension: str
    ) -> None:
        def choose(gif: Gif, stored: StoredFile) -> Kept | None:
            file = stored.versions.get(version)
            return file if file is not None and extension_of(file) == extension else None

        await self._send(req, resp, gif_id, f"{version}.{extension}", choose)

    async def _send(
        self, req: Request, resp: Response, gif_id: str, what: str, choose: Choose
    ) -> None:
        gif = await self._gif(req, gif_id)
        file = _found(gif, what, choose)
        download = req.get_param_as_bool("download", default=False)
        if self._in_bucket and not download:
            _may_be_shown(resp, gif, self._redirect_s)
            url = plain_url if is_for_everybody(gif) else guarded_url
            resp.status, resp.location = falcon.HTTP_302, url(file)
            return
        await self._files.answer(req, resp, file.key, file.bytes)
        _may_be_shown(resp, gif, FRESH_S)
        if download or resp.get_header("Content-Disposition") is None:
            kind = "attachment" if download else "inline"
            resp.set_header("Content-Disposition", _named(kind, gif.title, extension_of(file)))

    async def _gif(self, req: Request, gif_id: str) -> Gif:
        """The GIF. Most are public, and nobody asks then who it is that looks."""
        try:
            return await self.context.run(library.get_gif, gif_id)
        except library.NotFound:
            viewer = await viewer_of(self.context, req)
            if viewer == STRANGER:
                raise
            return await self.context.run(library.get_gif, gif_id, viewer)


#: What means in a quoted file name what it is, to every browser. Some decode a percent sign there.
_PLAIN = re.compile(r"[^A-Za-z0-9 ._()&'!,+=@#-]")


def _named(kind: str, title: str, extension: str) -> str:
    """A Content-Disposition with a file name made of a title (RFC 6266, 4.3).

    A title may have quotation marks: in a header as they are, they would end the name there, and
    whoever wrote the title would choose another one, such as `setup.exe`.
    """
    name = clean_filename(f"{title}.{extension}".replace("/", "_").replace("\\", "_"))
    plain = _PLAIN.sub("_", name)
    whole = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{whole}'


def _found(gif: Gif, what: str, choose: Choose) -> Kept:
    """The file, if there is one.

    Raises:
      Problem: 404; if a worker still makes files, with the time after which to try again.
    """
    stored = next(iter(Gif.image.stored_files(gif)), None)
    file = None if stored is None else choose(gif, stored)
    if file is not None:
        return file
    if gif.image_state in (None, "queued", "processing"):
        raise Problem(404, "not_ready", f"This GIF has no {what} yet. Try again soon.", SOON)
    have = sorted({extension_of(each) for each in _files(gif, stored)})
    there = f"It has: {', '.join(have)}." if have else "It has no files."
    raise Problem(404, "format_missing", f"This GIF has no {what[:40]}. {there}")


def _files(gif: Gif, stored: StoredFile | None) -> list[Kept]:
    """The files that everybody may have."""
    if stored is None:
        return []
    original = [] if is_edited(stored, gif.edit) else [stored]
    return [*original, *stored.versions.values()]


def _may_be_shown(resp: Response, gif: Gif, fresh_s: int) -> None:
    """By any site, for some minutes. A GIF that not everybody may see stays out of all caches."""
    public = f"public, max-age={fresh_s}"
    resp.set_header("Cache-Control", public if may_see_gif(gif) else "private, no-store")
    resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
    resp.set_header("Content-Security-Policy", MEDIA_POLICY)
    if gif.visibility != Visibility.PUBLIC:
        resp.set_header("X-Robots-Tag", "noindex")
