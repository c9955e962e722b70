"""Numbers as people read them, in messages and on pages. Imports nothing, for commands that start
quickly."""


def counted(number: int, one: str, many: str = "") -> str:
    """A number with what it counts, such as "1 file" or "1,200 files".

    Parameters:
      one: the word for one of them.
      many: the word for several, if it has not just an s at its end.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
