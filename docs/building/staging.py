"""Copies the repository's pages for MkDocs.

Links to files of the repository that are no pages, such as `deploy/nginx.conf`, lead to pages that
show these files. Lists are indented as Python-Markdown wants them, by four spaces.
"""

import os
import re
import shutil
from pathlib import Path, PurePosixPath

#: The pages outside of `docs/`, and what they are called in the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "security-policy.md",
}
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r" *(```|~~~)")
_FENCE_WITH_NOTE = re.compile(r"^( *```[a-z]+) (.+)$")
_ITEM = re.compile(r"( *)([-*] +|\d+\. +)\S")
_LANGUAGES = {".py": "python", ".toml": "toml", ".conf": "nginx", ".service": "ini"}


def stage(root: Path, target: Path) -> None:
    """Write the site's sources.

    Parameters:
      root: the repository.
      target: the folder to write to; what it has is deleted.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "docs", target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (target / "building").rename(target / "assets")
    shown: set[PurePosixPath] = set()
    for source in sources(root):
        page = PurePosixPath(source.relative_to(root).as_posix())
        text = _with_links(source.read_text("utf-8"), page, root, shown)
        place = target / staged(page)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_indented(text), "utf-8")
    for path in shown:
        place = target / staged(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_shown(root, path), "utf-8")


def sources(root: Path) -> list[Path]:
    """The repository's pages that the site has. The README stays out: the site has a home of its
    own, `docs/index.md`."""
    outside = [root / name for name in PAGES if name != "README.md" and (root / name).exists()]
    return [*sorted((root / "docs").rglob("*.md")), *outside]


def staged(path: PurePosixPath) -> PurePosixPath:
    """Where the site has a page, an image or another file of the repository."""
    if path.parts[:1] == ("docs",):
        within = path.relative_to("docs")
        return within / "README.md" if within.name == "decisions" else within
    return PurePosixPath(PAGES.get(str(path)) or f"files/{path}.md")


def _with_links(text: str, page: PurePosixPath, root: Path, shown: set[PurePosixPath]) -> str:
    """The text, with links that lead to the same things in the site."""

    def moved(link: re.Match[str]) -> str:
        target = PurePosixPath(os.path.normpath(page.parent / link[1]))
        place = staged(target)
        if place.parts[0] == "files":
            if not (root / target).exists():
                raise FileNotFoundError(f"{page} links to {target}, which does not exist")
            shown.add(target)
        return f"]({os.path.relpath(place, staged(page).parent)}{link[2] or ''})"

    return "\n".join(
        _FENCE_WITH_NOTE.sub(_titled, line) if is_code else _LINK.sub(moved, line)
        for line, is_code in _lines(text)
    )


def _titled(fence: re.Match[str]) -> str:
    """The beginning of a code block, without the words that tell our tests what to do with it. A
    file that it makes becomes its title."""
    file = re.search(r"\bfile=(\S+)", fence[2])
    return f'{fence[1]} title="{file[1]}"' if file else fence[1]


def _shown(root: Path, path: PurePosixPath) -> str:
    """A page that shows a file of the repository, or the files of a folder."""
    found = root / path
    files = sorted(found.iterdir()) if found.is_dir() else [found]
    text = f"# {path}\n"
    for file in files:
        if not file.is_file():
            continue
        heading = f"\n## {file.name}\n" if found.is_dir() else ""
        code = file.read_text("utf-8").replace("`" * 4, "")
        text += f"{heading}\n````{_LANGUAGES.get(file.suffix, 'text')}\n{code}````\n"
    return text


def _lines(text: str) -> list[tuple[str, bool]]:
    """The lines, each with whether it is code or the fence of a code block."""
    found, fenced = [], False
    for line in text.split("\n"):
        is_fence = bool(_FENCE.match(line))
        found.append((line, fenced or is_fence))
        fenced ^= is_fence
    return found


def _indented(text: str) -> str:
    """The text, with the content of list items indented by four spaces, and an empty line before
    each list."""
    lines: list[str] = []
    #: Of each item that the line is in: where its content begins, in the source and here.
    items: list[tuple[int, int]] = []
    for line, is_code in _lines(text):
        if not line.strip():
            lines.append("")
            continue
        item = None if is_code else _ITEM.match(line)
        indent = len(line) - len(line.lstrip())
        while items and indent < items[-1][0]:
            closed = items.pop()
            if item is None and not is_code and not items and lines[-1]:
                items.append(closed)  # a lazy line, which goes on with the item's paragraph
                break
        before, now = items[-1] if items else (0, 0)
        if item is not None:
            if lines and lines[-1] and not _ITEM.match(lines[-1]) and not _in_list(lines):
                lines.append("")
            at = now + len(item[1]) - before
            lines.append(" " * at + item[2].strip() + " " + line[item.end() - 1 :])
            items.append((item.end() - 1, at + 4))
        else:
            lines.append(" " * max(0, now + indent - before) + line.lstrip())
    return "\n".join(lines)


def _in_list(lines: list[str]) -> bool:
    """Whether the last paragraph belongs to a list item."""
    for line in reversed(lines):
        if not line:
            return False
        if _ITEM.match(line):
            return True
    return False
