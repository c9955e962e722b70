"""Files that are no images, and a parser for them. The sandbox imports this module, so it imports
no application."""

from pathlib import Path


def pdf(pages: int, title: str = "CV") -> bytes:
    """A file that begins like a PDF, with so many pages."""
    return b"%PDF-1.7\n" + f"/Title ({title})\n".encode() + b"<< /Type /Page >>\n" * pages


def count_pages(path: Path) -> int:
    """How many pages the file has."""
    return path.read_bytes().count(b"/Type /Page")


def crash(path: Path) -> int:
    """Take more memory than a sandbox has."""
    return len(b"x" * 2_000_000_000)
