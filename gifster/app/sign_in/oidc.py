"""The protocol between a sign-in service and this library: OpenID Connect, authorization code flow.

Each log-in has a state, a nonce and a PKCE verifier of its own, which the browser keeps. Answers
must be of the issuer that the settings name, meant for this library, signed with a key of the
service's by an asymmetric algorithm, and fresh (OpenID Connect Core 1.0, 3.1.3.7; RFC 9700; RFC
9207). The packages `authlib` and `joserfc` do the work.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from gifster.app.errors import Denied, Unavailable
from gifster.app.settings import Oidc
from gifster.app.sign_in.identities import MAX_SUBJECT, Person
from gifster.app.tokens import FRESH
from gifster.uploads.text import has_controls

logger = logging.getLogger("gifster.app.sign_in")

#: How long the service's metadata and keys are kept; and how soon keys are fetched again at the
#: earliest if an answer is signed with one that is not among them.
KEPT_S, KEYS_AGAIN_S = 3_600, 60
#: The longest address or name (characters).
MOST_TEXT = 500
#: How much the clocks may differ (seconds).
LEEWAY_S = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
              "Ed25519", "EdDSA"]  # fmt: skip


@dataclass(frozen=True)
class Attempt:
    """What a browser keeps until the service sends it back.

    Parameters:
      redirect_uri: where the service sends it.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class Provider:
    """The sign-in service of the settings. Its methods block, and come from any thread.

    Parameters:
      settings: `[oidc]`.
      with_groups: whether anything depends on people's groups.
    """

    def __init__(self, settings: Oidc, *, with_groups: bool = False) -> None:
        self._settings = settings
        self._wanted = {"email", "email_verified"}
        if with_groups:
            self._wanted.add(settings.groups_claim)
        self._lock = threading.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, Any] | None = None

    def begin(self, redirect_uri: str, *, again: bool = False) -> tuple[str, Attempt]:
        """The address at the service where a browser goes, and what it keeps.

        Parameters:
          redirect_uri: the address of this library's that the service sends it to.
          again: whether somebody who is logged in at the service has to log in there once more
            (OpenID Connect Core 1.0, 3.1.2.1). The browser's user can take that out of the address,
            so `finish()` checks it.

        Raises:
          Unavailable: the service cannot be reached, or is not what the settings say.
        """
        from authlib.common.security import generate_token
        from authlib.oauth2.client import OAuth2Client

        attempt = Attempt(generate_token(43), generate_token(43), generate_token(64), redirect_uri)
        client = OAuth2Client(
            None,
            client_id=self._settings.client_id,
            redirect_uri=redirect_uri,
            scope=" ".join(self._settings.scopes),
            code_challenge_method="S256",
        )
        seconds = str(int(FRESH.total_seconds()))
        more = {"prompt": "login", "max_age": seconds} if again else {}
        url, _ = client.create_authorization_url(
            self.metadata()["authorization_endpoint"],
            state=attempt.state,
            code_verifier=attempt.verifier,
            nonce=attempt.nonce,
            **more,
        )
        return str(url), attempt

    def finish(
        self, attempt: Attempt, answer: Mapping[str, str], *, again: bool = False
    ) -> tuple[Person, timedelta]:
        """The person who has logged in at the service, and how long ago they did so there; the
        longest time if it does not tell.

        Parameters:
          answer: the query with which the browser came back. The caller has found the attempt by
            its state.
          again: as `begin()` got it.

        Raises:
          Denied: they have not, not again, or the answer is not the service's.
          Unavailable: the service cannot be reached.
        """
        self._check_issuer(answer)
        if error := answer.get("error"):
            logger.info("sign-in refused by the service error=%.60r", error)
            raise Denied("oidc_refused", _REFUSED.get(error, _REFUSED[""]))
        if not answer.get("code"):
            raise _failed("the answer has neither a code nor an error")
        token = self._token(attempt, answer["code"])
        claims = self._claims(token, attempt.nonce)
        age = _age(claims.get("auth_time"))
        if again and age > FRESH:
            age = self._age_again(claims)
        return self._person({**self._more(claims, token), **claims}), age

    def _age_again(self, claims: dict[str, Any]) -> timedelta:
        """How long ago somebody logged in who had to do so again, if they may have.

        Raises:
          Denied: they have not, or the service does not tell, as it has to (OpenID Connect Core
            1.0, 2).
        """
        told = self.metadata().get("claims_supported")
        if "auth_time" not in claims and isinstance(told, list) and "auth_time" not in told:
            return timedelta()  # it tells nobody; what it was asked must do
        logger.warning("sign-in was not asked for again auth_time=%.40r", claims.get("auth_time"))
        raise Denied(
            "oidc_not_again",
            "The sign-in service has not asked you to log in once more. Log out there, and try "
            "again.",
        )

    def check(self) -> None:
        """Check whether somebody could log in by the service now, as far as it tells.

        Raises:
          Unavailable: its metadata or its keys cannot be had, or not be used.
        """
        from joserfc.errors import JoseError

        self.metadata()
        try:
            self._key_set()
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _away(f"its keys cannot be used: {error}") from None

    def metadata(self) -> dict[str, Any]:
        """The service's metadata (OpenID Connect Discovery 1.0, 3).

        Raises:
          Unavailable: it cannot be had, or is another service's.
        """
        kept = self._metadata
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        url = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = self._get(url)
        if found.get("issuer") != self._settings.issuer:
            raise _away(
                f"it calls itself {str(found.get('issuer'))[:200]!r}: set oidc.issuer to that"
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _is_safe(found.get(name), self._settings.issuer):
                raise _away(f"its {name} is {str(found.get(name))[:200]!r}")
        self._metadata = (time.monotonic() + KEPT_S, found)
        return found

    def _check_issuer(self, answer: Mapping[str, str]) -> None:
        """An answer that another service had sent (RFC 9207, 2.4)."""
        said = answer.get("iss")
        tells = self.metadata().get("authorization_response_iss_parameter_supported") is True
        if said != self._settings.issuer and (said is not None or tells):
            raise _failed(f"the answer is of the issuer {str(said)[:200]!r}")

    def _token(self, attempt: Attempt, code: str) -> dict[str, Any]:
        import requests
        from authlib.integrations.base_client import OAuthError
        from authlib.integrations.requests_client import OAuth2Session

        from gifster.app.sign_in.asking import limited

        metadata = self.metadata()
        client_id, secret = self._settings.client_id, self._settings.client_secret
        method = self._authentication(metadata)
        if method == "client_secret_basic":
            client_id, secret = _encoded(client_id), _encoded(secret)
        with OAuth2Session(
            client_id=client_id,
            client_secret=secret or None,
            token_endpoint_auth_method=method,
            redirect_uri=attempt.redirect_uri,
        ) as session:
            try:
                return dict(
                    limited(session).fetch_token(
                        metadata["token_endpoint"],
                        grant_type="authorization_code",
                        code=code,
                        code_verifier=attempt.verifier,
                        allow_redirects=False,
                    )
                )
            except OAuthError as error:
                raise _failed(f"the service gives no token: {error}") from None
            except requests.RequestException as error:
                raise _away(str(error)) from None
            except ValueError as error:
                raise _failed(str(error)) from None

    def _authentication(self, metadata: dict[str, Any]) -> str:
        """How this library proves who it is (OpenID Connect Discovery 1.0, 3)."""
        client_id, secret = self._settings.client_id, self._settings.client_secret
        if not secret:
            return "none"
        told = metadata.get("token_endpoint_auth_methods_supported")
        supported = told if isinstance(told, list) else ["client_secret_basic"]
        # In a header they are encoded, which some services forget to undo; in a form there is one
        # way to write them.
        plain = (_encoded(client_id), _encoded(secret)) == (client_id, secret)
        if "client_secret_basic" not in supported:
            return "client_secret_post"
        if not plain and "client_secret_post" in supported:
            return "client_secret_post"
        return "client_secret_basic"

    def _claims(self, token: dict[str, Any], nonce: str) -> dict[str, Any]:
        """What the ID token says, once it is certain that it is the service's answer to this
        attempt."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
        from joserfc.jws import JWSRegistry

        text = token.get("id_token")
        if not isinstance(text, str):
            raise _failed("the service gives no ID token")
        rules = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            try:
                read = jwt.decode(text, self._key_set(), registry=rules)
            except (InvalidKeyIdError, BadSignatureError):
                # The new key may have the name of the former one, or neither has any.
                read = jwt.decode(text, self._key_set(again=True), registry=rules)
            claims = CodeIDToken(
                read.claims,
                read.header,
                {
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                    "sub": {"essential": True},
                },
                {
                    "nonce": nonce,
                    "client_id": self._settings.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _failed(f"the ID token is not valid: {error}") from None
        return dict(claims)

    def _key_set(self, *, again: bool = False) -> Any:
        with self._lock:
            kept, now = self._keys, time.monotonic()
            age = None if kept is None else now - kept[0]
            if kept is None or age is None or age > (KEYS_AGAIN_S if again else KEPT_S):
                found = self._get(self.metadata()["jwks_uri"])
                kept = self._keys = (now, _keys_for_signatures(found))
            return kept[1]

    def _more(self, claims: dict[str, Any], token: dict[str, Any]) -> dict[str, Any]:
        """The claims that many services tell by their UserInfo endpoint alone."""
        url = self.metadata().get("userinfo_endpoint")
        access = token.get("access_token")
        if self._wanted <= claims.keys() or not access or not _is_safe(url, self._settings.issuer):
            return {}
        found = self._get(str(url), {"Authorization": f"Bearer {access}"})
        if found.get("sub") != claims["sub"]:
            # OpenID Connect Core 1.0, 5.3.2: another person's.
            raise _failed("the UserInfo is another subject's")
        if "email" in claims and found.get("email") != claims["email"]:
            found.pop("email_verified", None)  # of another address
        return found

    def _person(self, claims: dict[str, Any]) -> Person:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
            raise _failed("the subject is not a text of 1 to 255 characters")
        if not subject.isprintable():  # no database keeps half a surrogate, nor PostgreSQL a NUL
            raise _failed("the subject has characters that cannot be printed")
        return Person(
            self._settings.issuer,
            subject,
            email=_text(claims.get("email")),
            # Some services write the text "true" (Amazon Cognito's UserInfo).
            email_verified=claims.get("email_verified") is True
            or claims.get("email_verified") == "true",
            name=_text(claims.get("name")) or _text(claims.get("preferred_username")),
            groups=_groups(claims.get(self._settings.groups_claim)),
        )

    def _get(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        import requests

        from gifster.app.sign_in.asking import limited

        try:
            with requests.Session() as session:
                answer = limited(session).get(url, headers=headers, allow_redirects=False)
            if answer.status_code != requests.codes.ok:
                raise _away(f"{url} answers {answer.status_code}")
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise _away(str(error)) from None
        if not isinstance(found, dict):
            raise _away(f"{url} is not an object of JSON")
        return found


_REFUSED = {
    "access_denied": "You have not been let in there. Try again, or log in another way.",
    "": "The sign-in service has refused the log-in. Try again, or log in another way.",
}


def _encoded(text: str) -> str:
    """An id or a secret as it is in a header (RFC 6749, 2.3.1)."""
    return quote(text, safe="")


def _keys_for_signatures(found: dict[str, Any]) -> Any:
    """The keys of a set that can be used here. The others are left out (RFC 7517, 5): a service may
    also have keys of newer kinds, for encryption, or damaged ones.

    Raises:
      ValueError: there is none.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    keys = []
    for values in found["keys"]:
        if not isinstance(values, dict) or values.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key(values)
            key.ensure_kid()
        except (JoseError, ValueError, TypeError, KeyError) as error:
            logger.warning("key of the sign-in service left out reason=%.200r", str(error))
        else:
            keys.append(key)
    if not keys:
        raise ValueError("the service has no key that can be used here")
    return KeySet(keys)


def _is_safe(url: Any, issuer: str) -> bool:
    """Whether a URL of the metadata is one, and as well protected as the issuer's own."""
    if not isinstance(url, str) or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and (
        parts.scheme == "https" or (parts.scheme == "http" and issuer.startswith("http://"))
    )


def _age(auth_time: Any) -> timedelta:
    """How long ago a moment was; the longest time if it is none."""
    try:
        age = timedelta(seconds=time.time() - auth_time)
    except (TypeError, ValueError, OverflowError):
        return timedelta.max
    leeway = timedelta(seconds=LEEWAY_S)
    return max(age - leeway, timedelta()) if age >= -leeway else timedelta.max


def _text(value: Any) -> str:
    """A text of the service's. One that no database keeps, such as with half a surrogate or a NUL,
    or that is too long to be meant, counts as absent: nobody is kept out because of it."""
    if not isinstance(value, str) or len(value) > MOST_TEXT or has_controls(value):
        return ""
    return value.strip()


def _groups(value: Any) -> frozenset[str]:
    """Groups are a list of names; of a single one, some services write the name alone."""
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(name for name in names if isinstance(name, str))


def _failed(reason: str) -> Denied:
    # The reason may say what an attacker wants to know, and helps nobody else.
    logger.warning("sign-in failed reason=%.300r", reason)
    return Denied("oidc_failed", "The log-in did not succeed. Try again.")


def _away(reason: str) -> Unavailable:
    logger.error("sign-in service away reason=%.300r", reason)
    away = Unavailable("oidc_unavailable", "The sign-in service cannot be used now. Try later.")
    away.add_note(reason)
    return away
