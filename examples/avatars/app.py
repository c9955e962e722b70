"""Avatars for the users of a small web application; it needs a Redis or Valkey server.

python -m examples.avatars.app                          # the web server, on port 8300
python -m gifster.jobs run examples.avatars.app         # workers and a scheduler
curl -F avatar=@me.gif http://127.0.0.1:8300/users/ann  # answers 202
curl http://127.0.0.1:8300/users/ann                    # shows the state and the URLs
"""

import os
from pathlib import Path
from wsgiref.simple_server import make_server

import falcon
import peewee

from gifster import jobs, uploads

VAR = Path(os.environ.get("AVATARS_VAR", "var/avatars")).absolute()
VAR.mkdir(parents=True, exist_ok=True)
db = peewee.SqliteDatabase(str(VAR / "app.db"), pragmas={"journal_mode": "wal"}, timeout=15)
db.bind(jobs.TABLES)
jobs.connect(os.environ.get("AVATARS_BROKER", "redis://127.0.0.1:6379/0"))
store = uploads.LocalStorage(VAR / "store", "/files")
uploads.configure({"cache": uploads.LocalStorage(VAR / "cache"), "store": store})


class AvatarUploader(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image: uploads.Image) -> uploads.Image:
        return image.fill(96, 96)

    def default_url(self, version: str | None) -> str:
        return "/files/nobody.png"


@uploads.store_in_background("avatar")
class User(uploads.HasUploads, peewee.Model):
    name = peewee.CharField(primary_key=True)
    avatar = uploads.mount_uploader(AvatarUploader)
    avatar_tmp = uploads.CacheField()
    avatar_state = uploads.StateField()

    class Meta:
        database = db


import gifster.uploads.actors  # noqa: E402, F401 after connect() and configure()


class Users:
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        with db.connection_context():
            user = User.get_or_none(User.name == name) or User(name=name)
        urls = {"avatar": user.avatar.url(), "thumb": user.avatar.url("thumb")}
        resp.media = {"state": user.avatar_state, **urls}

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        with db.connection_context():
            User.insert(name=name).on_conflict_ignore().execute()
            user = User.get_by_id(name)
            for part in req.get_media():
                user.avatar = part
            user.save()
        resp.status = falcon.HTTP_202


def refuse(req: object, resp: object, error: uploads.UploadError, params: object) -> None:
    raise falcon.HTTPUnprocessableEntity(title=error.code, description=str(error))


if __name__ == "__main__":
    with db.connection_context():
        jobs.migrate(db)
        db.create_tables([User])
    app = falcon.App()
    app.add_error_handler(uploads.UploadError, refuse)
    app.add_route("/users/{name}", Users())
    app.add_static_route("/files", VAR / "store")
    make_server("127.0.0.1", int(os.environ.get("AVATARS_PORT", "8300")), app).serve_forever()
