"""Answers about a new passkey that no browser sends, without a browser."""

import base64
import hashlib
import json
from typing import Any

import cbor2
import pytest

from gifster.app.models import User
from gifster.app.sign_in.tables import Passkey
from tests.api.sign_in.conftest import NewSite


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


#: A public key of the curve P-256 (RFC 9053, 7.1.1).
KEY = {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}


@pytest.mark.parametrize(
    ("form", "statement", "key"),
    [
        ("android-safetynet", {"ver": "1", "response": 5}, KEY),
        ("tpm", {"ver": "2.0", "certInfo": b"x"}, KEY),
        ("none", {}, []),
        ("none", {}, 5),
        ("none", {}, {1: "a"}),
    ],
)
def test_rubbish_is_no_new_passkey(
    new_site: NewSite, ann: User, form: str, statement: Any, key: Any
):
    browser = new_site().with_password_of(ann)
    asked = browser.post("/account/sign-in/passkeys/options").json()
    client = {
        "type": "webauthn.create",
        "challenge": asked["challenge"],
        "origin": "http://localhost",
    }
    data = hashlib.sha256(b"localhost").digest() + b"\x45" + bytes(20) + b"\0\4" + b"cred"
    made = cbor2.dumps({"fmt": form, "attStmt": statement, "authData": data + cbor2.dumps(key)})
    answer = {
        "id": base64url(b"cred"),
        "rawId": base64url(b"cred"),
        "type": "public-key",
        "response": {
            "clientDataJSON": base64url(json.dumps(client).encode()),
            "attestationObject": base64url(made),
        },
    }

    refused = browser.post("/account/sign-in/passkeys", json={"credential": answer, "name": "x"})

    assert refused.status_code == 422, refused.text
    assert Passkey.select().count() == 0
