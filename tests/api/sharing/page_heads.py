"""The head of a page, as programs read it."""

from html.parser import HTMLParser


class Head(HTMLParser):
    """The tags of a page's head, in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.metas: list[dict[str, str]] = []
        self.links: list[dict[str, str]] = []
        self.feed(page.partition("<body")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        {"meta": self.metas, "link": self.links}.get(tag, []).append(found)

    def link(self, **wanted: str) -> str:
        return next(one["href"] for one in self.links if wanted.items() <= one.items())
