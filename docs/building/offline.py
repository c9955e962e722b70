"""Checks that the built site loads nothing from elsewhere, so that it can be read offline."""

import re
from html.parser import HTMLParser
from pathlib import Path

#: Attributes by which a browser loads something when it shows a page.
_LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
}
#: What a `<link>` with such a `rel` does not load.
_POINTERS = {"canonical", "prev", "next", "alternate", "edit", "author", "license"}
_IN_STYLES = re.compile(
    r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)"
)


def loads_from_elsewhere(site: Path) -> list[str]:
    """What pages and styles load from other hosts, as `file: address`."""
    found = []
    for page in sorted(site.rglob("*.html")):
        loads = _Loads()
        loads.feed(page.read_text("utf-8"))
        found += [f"{page.relative_to(site)}: {address}" for address in loads.elsewhere]
    for sheet in sorted([*site.rglob("*.css"), *site.rglob("*.svg")]):
        for match in _IN_STYLES.finditer(sheet.read_text("utf-8")):
            found.append(f"{sheet.relative_to(site)}: {match[1] or match[2]}")
    return found


class _Loads(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        addresses = [values.get(name, "") for name in _LOADING.get(tag, ())]
        if tag == "link" and values.get("rel", "") not in _POINTERS:
            addresses.append(values.get("href", ""))
        if "mermaid" in values.get("class", "").split():
            addresses.append("https://unpkg.com/mermaid")  # which the theme then loads
        addresses += [
            match[1] or match[2] for match in _IN_STYLES.finditer(values.get("style", ""))
        ]
        self.elsewhere += [a for a in addresses if a.startswith(("http:", "https:", "//"))]
