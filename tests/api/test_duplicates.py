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
