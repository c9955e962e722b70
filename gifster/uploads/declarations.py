"""What an uploader class declares with decorators: versions, steps, metadata, derivations."""

from typing import Any, ClassVar


class Declared:
    """What a decorator makes of a method of an uploader, under the method's name."""

    #: Names that it cannot have, beside those of what every uploader has.
    reserved: ClassVar[frozenset[str]] = frozenset()


def declared(uploader: type, kind: type[Any]) -> dict[str, Any]:
    """What an uploader class declares or inherits of one kind, by name, in its order."""
    found: dict[str, Any] = {}
    for owner in reversed(uploader.__mro__):
        for name, value in vars(owner).items():
            if isinstance(value, kind):
                found[name] = value
            else:
                found.pop(name, None)  # an uploader may undo what it inherits: `thumb = None`
    return found
