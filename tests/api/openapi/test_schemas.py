"""Answers have the shapes of `schemas`, and bodies those of `requests`."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from gifster.api import requests, schemas, validation
from gifster.api.openapi import document
from gifster.api.problems import Problem
from gifster.app.models import ImageUploader
from tests import images
from tests.machine import eventually
from tests.stack import Stack

ADMIN = {"email": "admin@example.org", "password": "correct horse"}


def hold(answer: Any, shape: type) -> Any:
    """The JSON of an answer, which must have exactly the fields of a shape."""
    TypeAdapter(shape).validate_json(answer.text, strict=True, extra="forbid")
    return answer.json()


def test_gifs_have_their_shape_in_every_state(stack: Stack):
    # Given two uploads of the same file
    form = {"title": "Moving", "tags": "b, a"}
    upload = stack.client.post("/api/gifs", data=form, files={"image": images.gif()})
    gif = hold(upload, schemas.WholeGif)
    assert gif["tags"] == ["a", "b"]
    stack.client.post("/api/gifs", files={"image": images.gif()})

    # When the first is ready
    eventually(lambda: stack.gif(gif["id"])["state"] == "ready")

    # Then it has an image with versions, alone and in the list
    whole = hold(stack.client.get(f"/api/gifs/{gif['id']}"), schemas.WholeGif)
    assert whole["image"]["frames"] > 1
    assert whole["versions"].keys() >= {"thumb", "poster", "preview"}
    listed = hold(stack.client.get("/api/gifs", params={"limit": 1}), schemas.GifList)
    assert listed["next"]
    assert listed["items"][0]["duplicate_of"] == gif["id"]

    # And a change answers with the tags as they are kept
    changed = stack.client.patch(f"/api/gifs/{gif['id']}", json={"tags": ["C", "b"]})
    assert hold(changed, schemas.WholeGif)["tags"] == ["b", "c"]
    changed = stack.client.patch(f"/api/gifs/{gif['id']}", json={"title": "Still moving"})
    assert hold(changed, schemas.WholeGif)["tags"] == ["b", "c"]
    missing = stack.client.get("/api/gifs/nothing")
    assert hold(missing, schemas.Problem)["code"] == "gif_not_found"


def test_people_and_jobs_have_their_shapes(stack: Stack):
    user = hold(stack.client.post("/api/users", json=ADMIN), schemas.NewUser)
    assert stack.run("gifster", "admins", "add", ADMIN["email"]).returncode == 0
    stack.client.headers["Authorization"] = f"Bearer {user['token']}"
    try:
        made = stack.client.post("/api/tokens", json={"name": "script", "scope": "read"})
        assert hold(made, schemas.NewToken)["token"]
        assert len(hold(stack.client.get("/api/tokens"), schemas.TokenList)["items"]) == 2

        for state in ("dead", "waiting"):
            hold(stack.client.get("/api/jobs", params={"state": state}), schemas.JobList)
        assert hold(stack.client.get("/api/queues"), schemas.QueueList)["items"]
        assert hold(stack.client.get("/api/workers"), schemas.WorkerList)["items"]
        hold(stack.client.get("/api/stats"), schemas.Stats)
    finally:
        del stack.client.headers["Authorization"]
    hold(stack.client.get("/healthz"), schemas.Health)
    hold(stack.client.get("/readyz"), schemas.Readiness)


REFUSED: dict[str, tuple[type[validation.Body], dict[str, object], str, str]] = {
    "a title that is a number": (
        requests.EditGif, {"title": 5}, "title_invalid", "title is 5: use a text.",
    ),
    "tags that are a text": (
        requests.EditGif, {"tags": "cat"}, "tags_invalid", "tags is 'cat': use a list of texts.",
    ),
    "a tag that is a number": (
        requests.PatchGif, {"tags": ["a", 1]}, "tags_invalid",
        'tags is ["a", 1]: use a list of texts.',
    ),
    "an unknown field": (
        requests.EditGif, {"title": "a", "x": 1}, "field_unknown",
        "There is no field 'x': send title, tags, alt_text, rating, visibility or edit.",
    ),
    "no URL": (
        requests.FetchGif, {"url": "x"}, "image_missing",
        "remote_image_url is missing: send the URL of an image.",
    ),
    "an address that is a list": (
        requests.SignUp, {"email": []}, "email_invalid", "email is []: use a text.",
    ),
    "a password that is a number": (
        requests.SignUp, {"email": "a@b.c", "password": 123456789}, "password_invalid",
        "password must be a text.",
    ),
    "days that are true": (
        requests.CreateToken, {"name": "a", "expires_in_days": True}, "expires_in_days_invalid",
        "expires_in_days is true: use a whole number, or null.",
    ),
    "a flag that is a number": (
        requests.PauseQueue, {"paused": 1}, "field_invalid", "paused is 1: use true or false.",
    ),
    "a field beside a flag": (
        requests.QuietWorker, {"quiet": True, "loud": False}, "field_unknown",
        "There is no field 'loud': send quiet.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_body_of_another_shape_is_refused(name: str):
    model, body, code, detail = REFUSED[name]

    with pytest.raises(Problem) as refused:
        validation.checked(model, body)

    assert (refused.value.status_code, refused.value.problem_code) == (422, code)
    assert refused.value.description == detail


def test_a_null_leaves_a_field_as_it_is_and_in_a_merge_patch_removes_it():
    names = ("title", "tags", "alt_text", "rating", "visibility", "edit")
    nulls: dict[str, object] = dict.fromkeys(names)

    assert validation.checked(requests.EditGif, nulls).model_dump() == nulls
    assert validation.checked(requests.PatchGif, {}).model_dump() == nulls
    removed = validation.checked(requests.PatchGif, nulls)
    assert (removed.title, removed.tags) == ("", [])  # a title cannot be empty: `edit_gif` says so
    assert removed.alt_text == ""
    assert (removed.rating, removed.visibility) == ("", "")  # nor can these


def test_the_document_has_the_limits_of_the_application(monkeypatch: pytest.MonkeyPatch):
    # Given a limit that the settings have changed
    monkeypatch.setattr(ImageUploader, "max_bytes", 12_345)
    components = document.__wrapped__()["components"]["schemas"]

    assert components["UploadGif"]["properties"]["image"]["description"].startswith(
        "At most 12,345 bytes of image/avif,"
    )

    assert components["PatchGif"]["properties"]["title"]["maxLength"] == 200
    assert components["SignUp"]["required"] == ["email", "password"]
    assert components["Gif"]["additionalProperties"] is False
    assert components["EditGif"]["additionalProperties"] is False
    limit = document()["paths"]["/api/gifs"]["get"]["parameters"][1]["schema"]
    assert limit == {"type": "integer", "minimum": 1, "maximum": 100, "default": 30}
