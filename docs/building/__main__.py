"""`python -m docs.building` writes the site's sources to `build/docs`, for `mkdocs build`;
`python -m docs.building check` checks what was built, and `python -m docs.building names` that the
reference says something about each public name."""

import sys
from pathlib import Path

from docs.building import (
    command_line,
    http_api,
    offline,
    reference,
    settings,
    staging,
    undocumented,
)

ROOT = Path(__file__).parent.parent.parent
SOURCES, SITE = ROOT / "build" / "docs", ROOT / "site"


def main() -> None:
    if sys.argv[1:] == ["check"]:
        found = offline.loads_from_elsewhere(SITE)
        if found:
            sys.exit("these pages load something from elsewhere:\n" + "\n".join(found))
        return
    if sys.argv[1:] == ["names"]:
        if without := undocumented.undocumented():
            sys.exit("these public names need a docstring, or a comment:\n" + "\n".join(without))
        return
    staging.stage(ROOT, SOURCES)
    pages = {
        **reference.pages(),
        "http-api.md": http_api.page(),
        "settings.md": settings.page(ROOT / "settings.toml"),
        "command-line.md": command_line.page(),
    }
    for name, text in pages.items():
        path = SOURCES / "reference" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


main()
