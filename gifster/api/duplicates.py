"""`POST /duplicates`: a page asks whether the library has a file already, before it sends it."""

import re
from collections.abc import Sequence

from falcon.asgi import Request, Response

from gifster.api.auth import viewer_of
from gifster.api.bodies import json_object, wrong_field
from gifster.api.context import Context
from gifster.app import near_duplicates

#: How many files a page may ask about at once.
MAX_FILES = 100
SHA256 = re.compile("[0-9a-f]{64}")


class Duplicates:
    """`POST {"sha256": […]}`, the SHA-256 of files. The answer names the oldest GIF of each that
    they may find, `{"found": {sha256: {"id": …, "title": …}}}`.

    The hashes are those of the files as they are stored, or as they were sent: with
    `uploads.strip_metadata`, a file with metadata is another one once it is stored.
    """

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Request, resp: Response) -> None:
        asked = _asked(await json_object(self.context, req))
        viewer = await viewer_of(self.context, req)

        def work() -> dict[str, dict[str, str]]:
            found = near_duplicates.oldest_with(asked, viewer.user_id)
            return {sha256: {"id": gif.id, "title": gif.title} for sha256, gif in found.items()}

        resp.media = {"found": await self.context.run(work)}


def _asked(document: dict[str, object]) -> Sequence[str]:
    asked = document.get("sha256")
    if not isinstance(asked, list) or not 1 <= len(asked) <= MAX_FILES:
        raise wrong_field("sha256", asked, f"a list of 1 to {MAX_FILES} hashes")
    for at, one in enumerate(asked):
        if not (isinstance(one, str) and SHA256.fullmatch(one)):
            raise wrong_field(f"sha256[{at}]", one, "64 digits from 0 to f")
    return asked
