"""A sign-in service that checks PKCE and its client, and lies when a test asks for it."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "gifster", "s3cret"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


class Service:
    """The service. A test changes what it says in `claims`, `metadata`, `userinfo`, `sign` and
    `answer`."""

    def __init__(self) -> None:
        self._server: WSGIServer = make_server(
            "127.0.0.1", 0, self._application, handler_class=_Quiet
        )
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.reset()

    def reset(self) -> None:
        self.keys, self.secret = [self.key], SECRET
        self.claims: dict[str, Any] = {"email": "ann@example.org", "email_verified": True}
        self.userinfo: dict[str, Any] | None = None
        self.metadata: dict[str, Any] = {}
        self.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        self.answer: dict[str, Any] = {}
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        yield
        self._server.shutdown()
        thread.join()
        self._server.server_close()

    def settings(self, **more: Any) -> dict[str, Any]:
        return {"issuer": self.issuer, "client_id": CLIENT, "client_secret": self.secret} | more

    def log_in(self, url: str, **more: str) -> str:
        """What the service does with a browser that comes: it logs in, and is sent back to the
        address that this returns."""
        assert url.startswith(f"{self.issuer}/authorize?")
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert (query["client_id"], query["response_type"]) == (CLIENT, "code")
        assert query["code_challenge_method"] == "S256"
        code = f"code{len(self._codes)}"
        self._codes[code] = query
        back = {"code": code, "state": query["state"]} | more
        parts = urlsplit(query["redirect_uri"])
        return f"{parts.path}?{urlencode(back)}"

    def _application(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            document: Any = {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
            } | self.metadata
        elif path == "/jwks":
            document = {"keys": [key.as_dict(private=False) for key in self.keys]}
        elif path == "/userinfo":
            document = self.userinfo or {"sub": self._subject}
        else:
            return self._token(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(document).encode()]

    def _token(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        # As Go's and Node's services do (RFC 6749, 2.3.1).
        basic = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Basic ")
        by_header = map(unquote_plus, base64.b64decode(basic).decode("latin1").split(":"))
        by_form = form.get("client_id"), form.get("client_secret")
        allowed = (CLIENT, self.secret) in (tuple(by_header), by_form)
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            not allowed
            or asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            start_response("400 Bad Request", [("Content-Type", "application/json")])
            return [b'{"error": "invalid_grant"}']
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "ann-1", "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], "auth_time": now,
        } | self.claims  # fmt: skip
        self._subject = claims["sub"]
        claims = {name: value for name, value in claims.items() if value is not None}
        answer = {"access_token": "a", "token_type": "Bearer", "id_token": self.sign(claims)}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer | self.answer).encode()]
