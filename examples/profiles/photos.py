"""A JSON API for photos, whose keys are UUIDs; `fastapi_app.py` includes its routes.

python -m gifster.jobs run photos  # workers
"""

from typing import Any
from uuid import UUID, uuid4

import peewee
from fastapi import APIRouter, HTTPException, UploadFile
from people import AvatarUploader, db

from gifster import uploads


@uploads.store_in_background("image")
class Photo(uploads.HasUploads, peewee.Model):
    id = peewee.UUIDField(primary_key=True, default=uuid4)
    image = uploads.mount_uploader(AvatarUploader)
    image_tmp = uploads.CacheField()
    image_state = uploads.StateField()
    image_error = uploads.ErrorField()

    class Meta:
        database = db


with db.connection_context():
    db.create_tables([Photo])

photos = APIRouter(prefix="/photos")


@photos.post("", status_code=201)
def add(image: UploadFile) -> dict[str, Any]:
    with db.connection_context():
        return as_json(Photo.create(image=image))


@photos.get("/{photo_id}")
def read(photo_id: UUID) -> dict[str, Any]:
    with db.connection_context():
        return as_json(photo_of(photo_id))


@photos.put("/{photo_id}")
def replace(photo_id: UUID, image: UploadFile) -> dict[str, Any]:
    with db.connection_context():
        photo = photo_of(photo_id)
        photo.image = image
        photo.save()
        return as_json(photo)


def photo_of(photo_id: UUID) -> Photo:
    photo = Photo.get_or_none(Photo.id == photo_id)
    if photo is None:
        raise HTTPException(404, "There is no such photo.")
    return photo


def as_json(photo: Photo) -> dict[str, Any]:
    error = photo.image_error.as_json() if photo.image_error else None
    return {
        "id": str(photo.id),
        "state": photo.image_state,
        "error": error,
        "image": photo.image.as_json(),
    }
