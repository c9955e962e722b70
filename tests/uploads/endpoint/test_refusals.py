"""Uploads that the endpoint refuses: it says why, and keeps nothing of them."""

import logging
import sys
from typing import Any

import pytest

from gifster.uploads import StorageUnavailable
from gifster.uploads.testing import MemoryStorage
from tests.logs import said_by
from tests.uploads.calling import Caller
from tests.uploads.endpoint.offers import GIF, form

REFUSED = [
    (form(b""), 422, "empty_file"),
    (form(b"no image at all"), 415, "type_not_allowed"),
    (form(GIF[:-9]), 422, "truncated"),
    (form(GIF + b"\0" * 1_000_000), 413, "too_large"),
    ({"content": GIF + b"\0" * 1_000_000}, 413, "too_large"),
    ({"content": b""}, 422, "empty_file"),
    (form(GIF, "photo"), 400, "no_file"),
    ({"files": [("file", ("a.gif", GIF)), ("file", ("b.gif", GIF))]}, 400, "too_many_files"),
    ({"files": {"file": ("a.gif", GIF)}, "data": {"a": "x" * 70_000}}, 413, "form_too_large"),
    ({"content": GIF, "headers": {"Content-Type": "multipart/form-data"}}, 400,
     "multipart_malformed"),
    ({"content": b"--x\r\nwhat", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
     400, "multipart_malformed"),
    ({"content": GIF, "headers": {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}},
     400, "multipart_malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED)
def test_what_is_refused_leaves_nothing(
    call: Caller, cache: MemoryStorage, request_: dict[str, Any], status: int, code: str
):
    answer = call("POST", **request_)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"type", "title", "status", "detail", "code"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert cache.files == {}


@pytest.mark.parametrize("content", [GIF, GIF + b"\0" * 100_000], ids=["small", "large"])
def test_a_file_in_another_field_is_named(call: Caller, content: bytes):
    answer = call("POST", **form(content, "photo"))

    assert (answer.status_code, answer.json()["code"]) == (400, "no_file")
    assert "one in the field 'photo': rename that to 'file'" in answer.json()["detail"]


def test_a_form_without_its_parser_names_the_extra(
    call: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "python_multipart.multipart", None)

    assert call("POST", **form(GIF)).json()["code"] == "internal_error"
    assert "not installed: pip install 'gifster[endpoints]'" in caplog.text
    assert call("POST", content=GIF).status_code == 201


def test_other_methods_and_paths(call: Caller):
    assert call("POST", "/x", content=GIF).json()["code"] == "not_found"
    answer = call("GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_a_storage_that_is_away(
    call: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def away(*_: object) -> None:
        raise StorageUnavailable("no route to host")

    monkeypatch.setattr(MemoryStorage, "upload", away)

    answer = call("POST", content=GIF)

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "30"
    assert [record.levelno for record in said_by("gifster.uploads", caplog)] == [logging.ERROR]


@pytest.mark.parametrize("query", ["&".join(f"a{i}=1" for i in range(30)), "filename=%ff%00&x"])
def test_a_strange_query_is_no_error_of_ours(call: Caller, query: str):
    answer = call("POST", f"?{query}", content=GIF)

    assert answer.status_code in (201, 400)
    assert answer.json().get("code") in (None, "query_invalid")
