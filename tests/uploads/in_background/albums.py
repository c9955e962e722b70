"""Albums, whose photos are stored by `save()` and processed by a worker."""

from typing import Any

from gifster.uploads import (
    Backgrounder,
    ErrorField,
    Image,
    ProcessingField,
    StateField,
    Uploader,
    mount_uploader,
    process_in_background,
    version,
)
from tests import images
from tests.uploads.framework import Base

ONE, TWO = images.gif(size=(80, 60)), images.gif(size=(90, 60), durations=[70] * 3)


class PhotoUploader(Backgrounder, Uploader):
    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(40, 40)


@process_in_background("photo")
class Album(Base):
    photo = mount_uploader(PhotoUploader)
    photo_processing = ProcessingField()
    photo_state = StateField()
    photo_error = ErrorField()


def album(content: Any = ONE) -> Any:
    made = Album()
    made.photo = content
    made.save()
    return made
