"""GIPHY's `POST /v1/gifs`: the way of any upload, with another form and another answer.

It is accepted as by `POST /api/gifs`: on the disk, with its job, before the answer. GIPHY's answer
to that has the status 200, which its clients insist on.
"""

from collections.abc import Mapping
from functools import partial

from falcon.asgi import Request, Response

from gifster.api.auth import bearer, require_uploader
from gifster.api.bodies import (
    JSON,
    MULTIPART,
    media_type,
    parsed_json,
    require_text,
    small_body,
    url_fields,
)
from gifster.api.context import Context
from gifster.api.dropin.access import Keys
from gifster.api.dropin.asked import Asked
from gifster.api.dropin.envelopes import meta
from gifster.api.dropin.giphy import Endpoint, several
from gifster.api.gifs import accept_upload
from gifster.api.problems import Problem
from gifster.api.receive import Parts, UploadForm, fetch_into, upload_form
from gifster.api.same_origin import SameOrigin
from gifster.app import tokens
from gifster.app.models import User
from gifster.app.texts import Visibility
from gifster.app.tokens import Kind

Fields = dict[str, list[str]]
FORM = "application/x-www-form-urlencoded"


class Gifs(Endpoint):
    """`/v1/gifs`: `GET` several by their ids, `POST` an upload."""

    def __init__(self, context: Context, keys: Keys) -> None:
        super().__init__(context, keys, several)
        self._same_origin = SameOrigin(context)

    async def on_post(self, req: Request, resp: Response) -> None:
        """Accept an upload. Its `api_key`, in the query or in the form before the file, is an API
        token that may write."""
        admit = partial(self._admit, req)
        if media_type(req) == MULTIPART:
            async with upload_form(self._context, req, None, Parts("file", admit)) as form:
                await self._accept(req, resp, form)
            return
        form = UploadForm(fields=await self._small_form(req))
        form.user = await admit(form.fields)
        try:
            await self._accept(req, resp, form)
        finally:
            await form.discard(self._context)

    async def _admit(self, req: Request, fields: Mapping[str, list[str]]) -> User | None:
        """The sender, who may upload. The cookies of a browser are not looked at.

        Raises:
          Problem, RateLimited, TooLarge, Denied: as `require_uploader()`.
        """
        secret = bearer(req) or Asked.of(req).raw("api_key") or fields.get("api_key", [""])[0]
        token = None
        if secret:
            token = await self._context.run(tokens.find_token, secret, Kind.TOKEN)
        if token is None:
            self._check_key(secret)
            # Where anybody may upload, a page of another site still may not do it in their name.
            self._same_origin.check(req)
        req.context.token = token
        return await require_uploader(self._context, req)

    def _check_key(self, key: str) -> None:
        """Refuse a key that is none: without an owner, its upload would not be where its sender
        looks for it.

        Raises:
          Problem: 401, it is a token that is not valid (any more), or no key of `search.keys`.
        """
        if tokens.SECRET.fullmatch(key):
            raise Problem(
                401,
                "token_invalid",
                "The token in api_key is wrong, expired or revoked. Make another one.",
            )
        if key:
            self._keys.require(key, 401)

    async def _small_form(self, req: Request) -> Fields:
        """The fields of a form without a file: a form, JSON, or nothing but the query."""
        if media_type(req) == FORM:
            return await url_fields(self._context, req)
        body = await small_body(self._context, req)
        sent = parsed_json(body) if media_type(req) == JSON and body else {}
        if not isinstance(sent, dict):
            raise Problem(400, "json_invalid", "The body must be a JSON object.")
        fields = {name: [value] for name, value in sent.items() if isinstance(value, str)}
        if isinstance(tags := sent.get("tags"), list):
            fields["tags"] = [tag for tag in tags if isinstance(tag, str)]
        require_text(*fields, *(value for values in fields.values() for value in values))
        return fields

    async def _accept(self, req: Request, resp: Response, form: UploadForm) -> None:
        for name, value in Asked.of(req).values.items():
            form.fields.setdefault(name, [value])
        # GIPHY has no fields of these names.
        for name in ("alt_text", "rating", "visibility"):
            form.fields.pop(name, None)
        if form.first("is_hidden").lower() in ("true", "1"):
            form.fields["visibility"] = [Visibility.UNLISTED]
        url = form.first("source_image_url").strip()
        if form.cached is None and url:
            await fetch_into(self._context, req, form, url)
        if form.cached is None:
            raise Problem(
                422, "image_missing", "Send the picture as `file`, or its `source_image_url`."
            )

        def work() -> str:
            gif, _ = accept_upload(form, form.user, self._context.quota)
            return gif.id

        gif_id = await self._context.commit(work, form.handed_over)
        resp.media = {"data": {"id": gif_id}, "meta": meta()}
