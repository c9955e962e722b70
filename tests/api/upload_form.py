"""The upload form of the gallery in a browser."""

from typing import Any


def payload(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/gif", "buffer": content}


def open_form(page: Any) -> None:
    """Show the upload form, which is behind a button."""
    page.locator("summary", has_text="Add").click()
