"""Notes: files of any kind, of which versions are made that get a file and give a file."""

from pathlib import Path

import PIL.Image

from gifster.uploads import (
    Backgrounder,
    CacheField,
    ErrorField,
    Image,
    StateField,
    Uploader,
    mount_uploader,
    store_in_background,
    version,
)
from tests import images
from tests.uploads.framework import Base

TEXT = b"bork bork bork"
GIF = images.gif((120, 90), [50, 70, 90])


def named(tmp_path: Path, name: str, source: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(source)
    return path


class NotesUploader(Backgrounder, Uploader):
    allow_types = {"text/*", "application/pdf", "image/*"}

    @version(file=True)
    def loud(self, file: Path) -> Path | bytes:
        return file.read_bytes().upper()

    @version(file=True, of="loud")
    def louder(self, file: Path) -> Path:
        with file.open("ab") as opened:  # in place, on a copy
            opened.write(b"!")
        return file

    @version(file=True, of="louder")
    def page(self, file: Path) -> Path:
        """A picture of a document, as by the user's own tool."""
        made = file.parent / "page.png"
        PIL.Image.new("RGB", (300, 10 * len(file.read_bytes())), "navy").save(made)
        return made

    @version(of="page")
    def preview(self, image: Image) -> Image:
        return image.fit(30, 30)

    @version(of="preview")
    def tiny(self, image: Image) -> Image:
        return image.fit(10, 10).convert("webp")

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(20, 20)


@store_in_background("file")
class StoredNote(Base):
    file = mount_uploader(NotesUploader)
    file_tmp = CacheField()
    file_state = StateField()
    file_error = ErrorField()
