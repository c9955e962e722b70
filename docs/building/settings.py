"""The page of the settings, from `settings.toml`: its comments say what each key means."""

import re
from dataclasses import dataclass, field
from pathlib import Path

_SECTION = re.compile(r"\[([\w.]+)\]\s*(?:#\s*(.*))?$")
_KEY = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|\[[^\]]*\]|[^#\s]+)\s*(?:#\s*(.*))?$")
_MORE = re.compile(r"\s+#\s*(.*)$")
_NOTE = re.compile(r"#\s?(.*)$")


@dataclass
class _Section:
    name: str
    about: str = ""
    #: For each key its name, its default, and what it means.
    keys: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def page(path: Path) -> str:
    """The page, in Markdown."""
    top, *sections = _sections(path.read_text("utf-8"))
    text = "# Settings\n\n" + _sentence("\n".join(top.notes)) + "\n\n" + _table(top)
    for section in sections:
        about = f"{_sentence(section.about)}\n\n" if section.about else ""
        text += f"\n## [{section.name}]\n\n{about}{_table(section)}"
        if section.notes:
            text += "\n```toml\n" + "\n".join(section.notes) + "\n```\n"
    return text


def _sections(text: str) -> list[_Section]:
    found = [_Section("")]
    for line in text.splitlines():
        now = found[-1]
        if match := _SECTION.match(line):
            found.append(_Section(match[1], match[2] or ""))
        elif match := _KEY.match(line):
            now.keys.append([match[1], match[2], match[3] or ""])
        elif match := _MORE.match(line):
            if now.keys:
                now.keys[-1][2] += f" {match[1]}"
            elif now.notes:
                now.notes.append(line)
            else:
                now.about += f" {match[1]}"
        elif match := _NOTE.match(line):
            now.notes.append(line if now.name else match[1])
        elif line.strip():
            raise ValueError(f"settings.toml has a line that is no section, key or comment: {line}")
    return found


def _table(section: _Section) -> str:
    if not section.keys:
        return ""
    rows = "".join(
        f"| `{name}` | `{default}` | {_sentence(about)} |\n"
        for name, default, about in section.keys
    )
    return f"| key | default | meaning |\n| --- | --- | --- |\n{rows}"


def _sentence(text: str) -> str:
    """A comment as Markdown: values in quotation marks and variables as code."""
    text = re.sub(
        r"('\[[^']*\]'|\"[^\"]*\"|\bGIFSTER_\w+(?:=\w+)?)", r"`\1`", text.replace("`", "")
    )
    return text.replace("|", "\\|")
