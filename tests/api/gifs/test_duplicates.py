"""Which files the library has already, asked before they are sent."""

import hashlib

import pytest

from tests import images
from tests.stack import Stack


def ask(stack: Stack, *sha256: object) -> dict[str, dict[str, str]]:
    answer = stack.client.post("/duplicates", json={"sha256": sha256})
    assert answer.status_code == 200, answer.text
    return answer.json()["found"]


def test_the_oldest_gif_with_a_file_is_found(stack: Stack):
    content = images.gif((41, 23))
    digest = hashlib.sha256(content).hexdigest()
    assert ask(stack, digest) == {}

    first = stack.finished(stack.upload(content, title="First").json()["id"])
    stack.finished(stack.upload(content, title="Second").json()["id"])

    assert ask(stack, digest, "0" * 64) == {digest: {"id": first["id"], "title": "First"}}


def test_a_file_with_metadata_is_found_as_it_was_sent(stack: Stack):
    # Given a GIF with a comment, which is not stored
    content = images.gif((43, 23))
    sent = content[:-1] + b"\x21\xfe\x05Paris\x00" + content[-1:]
    gif = stack.finished(stack.upload(sent, title="Paris").json()["id"])
    assert stack.client.get(gif["image"]["url"]).content == content

    # When somebody asks for the file as it was sent, and as it is stored, I expect the same GIF
    hashes = [hashlib.sha256(one).hexdigest() for one in (sent, content)]
    told = {"id": gif["id"], "title": "Paris"}
    assert ask(stack, *hashes) == dict.fromkeys(hashes, told)

    # When others do not see it, I expect neither to be told
    stack.client.patch(f"/api/gifs/{gif['id']}", json={"visibility": "unlisted"})
    assert ask(stack, *hashes) == {}


def test_what_others_hide_is_not_told(stack: Stack):
    content = images.gif((42, 23))
    hidden = stack.upload(content, title="Hidden", visibility="unlisted").json()
    stack.finished(hidden["id"])

    assert ask(stack, hashlib.sha256(content).hexdigest()) == {}


@pytest.mark.parametrize(
    "document", [{}, {"sha256": "a"}, {"sha256": []}, {"sha256": ["a" * 63]}, {"sha256": [1]},
                 {"sha256": ["A" * 64]}, {"sha256": ["a" * 64] * 101}]
)  # fmt: skip
def test_a_malformed_question_is_refused(stack: Stack, document: dict[str, object]):
    answer = stack.client.post("/duplicates", json=document)

    assert (answer.status_code, answer.json()["code"]) == (422, "field_invalid")
