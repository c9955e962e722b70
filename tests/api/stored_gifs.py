"""GIFs whose files are in the store already, and the id of none."""

import json

from gifster.app import library
from gifster.app.database import db
from gifster.app.models import FingerprintPart, Gif, ImageUploader, User, fingerprint_parts
from gifster.uploads.config import storage
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import keep
from tests import images

NOBODY = "zzzzzzzzzzzz"
DHASH = "0001000200030004"
PICTURE = images.gif((40, 30), [60] * 3)


def stored_gif(owner: User, title: str, tags: list[str]) -> Gif:
    """A GIF whose files are in the store already, as a worker would have put them there."""
    gif = library.add_gif(
        cache_upload(ImageUploader, PICTURE, "a.gif"), title=title, tags=tags, user=owner
    )
    folder = f"gifs/{gif.id}/0123456789abcdef"
    facts = {"content_type": "image/gif", "bytes": len(PICTURE), "width": 40, "height": 30}
    stored = facts | {
        "storage": "store", "key": f"{folder}/original.gif", "filename": "a.gif",
        "sha256": gif.sha256, "frames": 3, "duration_ms": 180, "loop": 0, "dhash": DHASH,
        "versions": {"thumb": facts | {"key": f"{folder}/thumb.gif"}},
    }  # fmt: skip
    for name in ("original", "thumb"):
        keep(storage("store"), f"{folder}/{name}.gif", PICTURE)
    sql = "UPDATE gif SET image = {0}, image_tmp = NULL, image_state = 'ready' WHERE id = {0}"
    db.execute_sql(sql.format(db.obj.param), [json.dumps(stored), gif.id])
    for part in fingerprint_parts(DHASH):
        FingerprintPart.create(gif=gif, part=part)
    made: Gif = Gif.get_by_id(gif.id)
    return made
