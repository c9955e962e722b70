"""The pages' templates (`templates/`), and those of the jobs page, from which they borrow."""

from types import CodeType
from typing import Any

import jinja2
from jinja2.bccache import Bucket

from gifster.api import schemas
from gifster.api.assets import ADDRESS
from gifster.api.form_tokens import FormTokenFields
from gifster.api.shapes import shape, size_of
from gifster.app.numbers import counted
from gifster.jobs.page import rendering
from gifster.uploads import placeholder


class Templates(jinja2.Environment):
    """Jinja's environment, in which `gif.title` is `gif["title"]` at once if `gif` is a dict.

    Jinja looks for an attribute of the object first. A page has more than a thousand such names,
    nearly all of them keys, and a failed look costs more than all the rest of it.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class Compiled(jinja2.BytecodeCache):
    """The code of the templates that this process has compiled. It is the same for all
    applications: none compiles what another one has."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key, bucket.checksum] = bucket.code


_compiled = Compiled()


def templates(root: str = "") -> Templates:
    """The templates, with their filters.

    Parameters:
      root: what the paths of links begin with (`web.root_path`).
    """
    made = Templates(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("gifster.api"), rendering.loader()]),
        autoescape=True,
        extensions=[FormTokenFields],
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # A page has a card thirty times, and would look each time whether its file has changed.
        auto_reload=False,
        bytecode_cache=_compiled,
    )
    made.filters["blurred"] = blurred
    made.filters["told_edit"] = told_edit
    made.filters["counted"] = counted
    made.globals |= {"root": root, "static": root + ADDRESS}
    made.globals |= {"shape": shape, "size_of": size_of}
    # `sign_in.routes` knows the ways to log in.
    made.globals |= {"oidc_name": "", "with_passwords": True, "with_second_factor": False}
    return made


def blurred(thumbhash: str | None) -> str:
    """The tiny picture of a ThumbHash, to show behind an image; empty if there is none, or if the
    ThumbHash is damaged."""
    try:
        return placeholder(thumbhash)
    except ValueError:
        return ""


def told_edit(edit: schemas.Edit) -> str:
    """An edit in words, such as "0.5 s to 2 s; at most 10 frames per second"."""
    start, end, fps, crop = edit["start"], edit["end"], edit["fps"], edit["crop"]
    parts = []
    if start or end is not None:
        parts.append(f"{start or 0:g} s to {'the end' if end is None else f'{end:g} s'}")
    if fps is not None:
        parts.append(f"at most {fps:g} {'frame' if fps == 1 else 'frames'} per second")
    if crop is not None:
        parts.append(
            f"{crop['width']} × {crop['height']} pixels, {crop['x']} from the left and {crop['y']} "
            "from the top"
        )
    return "; ".join(parts)
