"""A GIF as JSON, as DESIGN fixes it: states, sizes in bytes and pixels, durations in ms."""

from collections.abc import Sequence
from typing import Any

from gifster.app import library, near_duplicates
from gifster.app.models import Gif, Token, User, rfc3339


def gif_json(gif: Gif, tags: list[str], same_as: str | None) -> dict[str, Any]:
    """One GIF. `tags`: its tags; `same_as`: the id of an older one that is the same file."""
    stored, failure = gif.image.stored, gif.image_error
    image, versions = None, {}
    if stored is not None:
        image = {
            "url": stored.url(),
            "content_type": stored.content_type,
            "bytes": stored.bytes,
            "width": stored.width,
            "height": stored.height,
            "frames": stored.frames,
            "duration_ms": stored.duration_ms,
            "loop": stored.loop,
            "sha256": stored.sha256,
        }
        versions = {
            name: {
                "url": version.url(),
                "content_type": version.content_type,
                "bytes": version.bytes,
                "width": version.width,
                "height": version.height,
            }
            for name, version in stored.versions.items()
        }
    return {
        "id": gif.id,
        "title": gif.title,
        "tags": tags,
        "state": gif.image_state,
        "created_at": rfc3339(gif.created_at),
        "image": image,
        "versions": versions,
        "placeholder": stored and {"color": stored.color, "thumbhash": stored.thumbhash},
        "error": failure and {"code": failure.code, "message": failure.message},
        "duplicate_of": same_as,
    }


def gifs_json(gifs: Sequence[Gif]) -> list[dict[str, Any]]:
    """Several GIFs, with one look for all their tags, and one for what was there before."""
    tags, same = library.tags_of(gifs), near_duplicates.same_as(gifs)
    return [gif_json(gif, tags[gif.id], same.get(gif.id)) for gif in gifs]


def whole_json(gif: Gif) -> dict[str, Any]:
    """One GIF, and the ids of those that look like it."""
    return gifs_json([gif])[0] | {
        "similar": [other.id for other in near_duplicates.looking_like(gif)]
    }


def user_json(user: User) -> dict[str, Any]:
    """A user, as the user may see it."""
    return {"id": user.id, "name": user.name, "email": user.email}


def token_json(token: Token, current: Token) -> dict[str, Any]:
    """A session or a token, as its user may see it. `current`: the one that asks."""
    used_at, expires_at = token.last_used_at, token.expires_at
    return {
        "id": token.id,
        "kind": token.kind,
        "name": token.name,
        "scope": token.scope,
        "created_at": rfc3339(token.created_at),
        "last_used_at": used_at and rfc3339(used_at),
        "expires_at": expires_at and rfc3339(expires_at),
        "current": token.id == current.id,
    }
