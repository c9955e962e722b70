"""What a request to any route of a GIF sends."""

from typing import Any

from tests.api.stored_gifs import PICTURE

#: What stands in a path for its other parameters.
OTHERS = {"name": "giphy.gif", "version": "thumb", "extension": "gif", "collection_id": "y" * 12}


def body(method: str, path: str) -> dict[str, Any]:
    if method in ("GET", "HEAD", "DELETE"):
        return {}
    if path.endswith("/image"):
        return {"files": {"image": ("b.gif", PICTURE, "image/gif")}}
    if method == "PATCH":
        return {"json": {"title": "mine"}}
    return {"data": {"title": "mine", "rating": "g", "visibility": "public"}}
