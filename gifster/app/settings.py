"""Settings: `settings.toml` and `GIFSTER_*` environment variables as one frozen, typed object.

Only `load()` reads the file and the environment; everything else is handed the result.
A key that does not exist, or a value that does not fit, is refused by name.
"""

import ipaddress
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from gifster.app.hosts import host_entry, public_url

PREFIX = "GIFSTER_"
#: What Dramatiq's own keys in Redis begin with.
NAMESPACE = "dramatiq"
PROFILE = f"{PREFIX}PROFILE"
#: The supervisor's mark on what it has started: its process id.
SUPERVISED = f"{PREFIX}SUPERVISED"
#: Where prometheus_client is told in which folder processes count together.
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
RESERVED = {PROFILE, SUPERVISED}
#: What is in no section.
ALONE = {"durability"}
#: What must come from the environment.
SECRETS = [
    ("mail", "password"),
    ("uploads", "secret"),
    ("cache", "secret_access_key"),
    ("store", "secret_access_key"),
]
#: What a profile changes, unless the file says otherwise in `[profile.<name>.<section>]`.
PROFILES: dict[str, Any] = {
    "development": {
        "auth": {"anonymous_uploads": True, "in_house_emails": True},
        "limits": {"enabled": False},
    }
}

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
RecurringName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=32)]
#: Of HTTP (RFC 9110, 5.1), as far as proxies use them.
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$", max_length=64)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _rate(text: str) -> str:
    import limits  # noqa: PLC0415 only where a rate is set: it takes longer than all the rest

    try:
        limits.parse(text)
    except ValueError:
        raise ValueError('must be like "10/hour" or "30/15 minutes"') from None
    return text


Rate = Annotated[str, AfterValidator(_rate)]
PublicUrl = Annotated[str, AfterValidator(public_url)]
HostEntry = Annotated[str, AfterValidator(host_entry)]


class SettingsError(Exception):
    """Settings that cannot be used; the message names each wrong key."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Web(Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    workers: int = Field(1, ge=1, le=64)
    threads: int = Field(16, ge=1, le=256)
    head_timeout_s: float = Field(10, ge=0.1, le=3600)
    body_stall_s: float = Field(30, gt=0)
    body_min_bytes_per_s: int = Field(500, ge=0)
    trusted_proxies: list[Network] = []
    #: Which headers of these proxies count: for the client's address and scheme.
    client_address_header: HeaderName = "X-Forwarded-For"
    client_scheme_header: HeaderName = "X-Forwarded-Proto"
    #: The address that people use, scheme and host. Empty: not known.
    public_url: PublicUrl = ""
    #: Further hosts to answer for.
    hosts: list[HostEntry] = []


class Database(Section):
    url: str = Field("sqlite:///var/gifster.db", pattern=r"^(sqlite|postgresql|postgres)://")


class Broker(Section):
    url: str = Field("", pattern=r"^$|^(redis|rediss|unix|amqp|amqps)://")
    #: What the keys in Redis begin with: applications on one Redis database need one each.
    namespace: str = Field(NAMESPACE, pattern=r"^[A-Za-z0-9_.:-]+$", max_length=64)

    @model_validator(mode="after")
    def _can_have_it(self) -> "Broker":
        if self.url.startswith("amqp") and self.namespace != NAMESPACE:
            raise ValueError(
                "RabbitMQ has no namespace: name a virtual host in broker.url, amqp://host/name"
            )
        return self


class Queue(Section):
    """A queue's weight among those that have jobs, and how many threads of a worker process it gets
    at most. A plain number is a weight."""

    weight: int = Field(1, ge=1, le=1000)
    max: int | None = Field(None, ge=1, le=64)
    #: How many of these threads one user's jobs get at most; None: all but one.
    user_max: int | None = Field(None, ge=1, le=64)


def _queue(value: Any) -> Any:
    return value if isinstance(value, dict | Queue) else {"weight": value}


class Worker(Section):
    processes: int = Field(1, ge=1, le=64)
    threads: int = Field(4, ge=1, le=64)
    lease_s: float = Field(10, ge=1, le=3600)
    grace_s: float = Field(8, ge=0, le=3600)
    #: How many of one user's jobs are with the broker at once; the others wait in the outbox.
    max_jobs_per_user: int = Field(16, ge=1, le=10_000)
    #: What a process may have in memory before it is started anew, between jobs. 0: no limit.
    max_memory_mb: int = Field(0, ge=0)


class Recurring(Section):
    """A job that comes again and again. A plain text is a rule of cron's."""

    cron: str
    actor: str = ""
    arguments: list[Any] = []
    queue: str = "default"
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _is_a_rule(self) -> "Recurring":
        from gifster.app.cron import next_after  # noqa: PLC0415 only where there is a rule

        next_after(self.cron, self.timezone)
        return self


def _recurring(value: Any) -> Any:
    return value if isinstance(value, dict | Recurring) else {"cron": value}


def _mode(value: Any) -> Any:
    """An octal number: the text "0640", or TOML's own 0o640. An empty text is None."""
    if not isinstance(value, str):
        return value
    try:
        return int(value, 8) if value else None
    except ValueError:
        raise ValueError('must be an octal number like "0640"') from None


Mode = Annotated[Annotated[int, Field(ge=0, le=0o7777)] | None, BeforeValidator(_mode)]


class Storage(Section):
    """A folder on this machine (`root`), or a bucket (the rest)."""

    kind: Literal["local", "s3"] = "local"
    root: Path
    bucket: str = ""
    prefix: str = Field("", pattern=r"^$|^[A-Za-z0-9_-][A-Za-z0-9._/-]*/$")
    endpoint_url: str = Field("", pattern=r"^$|^https?://")
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    #: What comes before a key in a URL: a CDN, or a public bucket.
    base_url: str = Field("", pattern=r"^$|^https?://|^/")
    url_expires_s: int = Field(3600, ge=1, le=7 * 24 * 3600)
    acl: str = ""
    encryption: str = Field("", pattern=r"^$|^AES256$|^aws:kms$")
    kms_key_id: str = ""
    #: A CRC32 with each upload. "auto": at Amazon's; many other servers do not know its framing.
    checksums: Literal["auto", "when_supported", "when_required"] = "auto"
    #: Where the bucket's name goes. "auto": into the path, except at Amazon's.
    addressing: Literal["auto", "path", "virtual"] = "auto"
    #: The certificates (PEM) that the server's is signed by, where no public authority's is.
    ca_file: str = ""
    #: The modes of files and folders on this machine; None: only our own user can read them.
    permissions: Mode = None
    directory_permissions: Mode = None

    @model_validator(mode="after")
    def _is_ours_to_use(self) -> "Storage":
        if (self.permissions or 0o600) & 0o600 != 0o600:
            raise ValueError("permissions must let our own user read and write: 0600 and more")
        if (self.directory_permissions or 0o700) & 0o700 != 0o700:
            raise ValueError("directory_permissions must let our own user in: 0700 and more")
        return self

    @model_validator(mode="after")
    def _has_a_bucket(self) -> "Storage":
        if self.kind == "s3" and not self.bucket:
            raise ValueError("a storage of the kind s3 needs a bucket")
        return self


class Cache(Storage):
    root: Path = Path("var/cache")


class Store(Storage):
    root: Path = Path("var/store")


class Uploads(Section):
    max_bytes: int = Field(50 * 1024 * 1024, ge=1)
    max_pixels: int = Field(40_000_000, ge=1)
    max_frame_pixels: int = Field(8_300_000, ge=1)
    max_total_pixels: int = Field(2_000_000_000, ge=1)
    max_frames: int = Field(5_000, ge=1)
    max_duration_s: int = Field(3_600, ge=1)
    #: In how many days every stored file is read once, and compared with its SHA-256. 0: never.
    deep_check_days: int = Field(30, ge=0)
    #: Signs cache ids. Empty: one that is made once and kept in var/secret.
    secret: str = ""
    private_remotes: bool = False


class Mail(Section):
    url: str = Field("file:var/mail", pattern=r"^(file:|smtp://|smtps://)")
    sender: str = "Gifster <gifster@localhost>"
    password: str = ""


class Auth(Section):
    anonymous_uploads: bool = False
    session_days: int = Field(30, ge=1, le=3_650)
    #: Of tokens that are made without a word about their end.
    token_days: int = Field(365, ge=1, le=3_650)
    #: Whether accounts may have addresses that lead nowhere outside of one network.
    in_house_emails: bool = False


class Limits(Section):
    enabled: bool = True
    #: Of one address.
    sign_up: Rate = "10/hour"
    #: Of one address; and of one browser that has logged in before, for its account.
    log_in: Rate = "20/15 minutes"
    #: For one account, of one address; and of all that are no such browser.
    log_in_account: Rate = "10/15 minutes"
    log_in_account_everywhere: Rate = "100/hour"
    #: Of one address, and of one user.
    upload: Rate = "600/hour"
    edit: Rate = "1200/hour"
    #: Event streams and waiting pages of one address at a time, in each web process.
    waiting: int = Field(50, ge=1)
    gifs_per_user: int = Field(10_000, ge=1)
    bytes_per_user: int = Field(5 * 1024**3, ge=1)


class Settings(BaseSettings):
    """All settings of one process. Frozen: a change means a restart."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    #: Whether what is accepted is on the disk before the answer, or when the system thinks fit.
    durability: Literal["fsync", "os"] = "fsync"
    web: Web = Web()
    database: Database = Database()
    broker: Broker = Broker()
    worker: Worker = Worker()
    queues: dict[QueueName, Annotated[Queue, BeforeValidator(_queue)]] = Field(
        {"default": Queue(weight=5), "carrierwave": Queue(weight=3)}, min_length=1
    )
    #: By name, which is the actor's where none is given.
    recurring: dict[RecurringName, Annotated[Recurring, BeforeValidator(_recurring)]] = {}
    cache: Cache = Cache()
    store: Store = Store()
    uploads: Uploads = Uploads()
    mail: Mail = Mail()
    auth: Auth = Auth()
    limits: Limits = Limits()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load(path: Path = Path("settings.toml")) -> Settings:
    """Read the settings of this process.

    Parameters:
      path: the settings file; where there is none, the defaults above hold.

    Raises:
      SettingsError: the file is no TOML, or a key or value is wrong; says which.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    profiles = _merge(PROFILES, document.pop("profile", {}))
    profile = os.environ.get(PROFILE, "")
    if profile:
        if profile not in profiles:
            known = ", ".join(profiles)
            raise SettingsError(f"{PROFILE}={profile}: there is no such profile (known: {known})")
        document = _merge(document, profiles[profile])
    for section, key in SECRETS:
        if document.get(section, {}).get(key):
            variable = f"{PREFIX}{section.upper()}__{key.upper()}"
            raise SettingsError(f"{path}: {section}.{key} is a secret: set {variable} instead")
    _refuse_unknown_sections()
    try:
        return Settings(**document)
    except UnreadableVariable as error:
        raise SettingsError(_unreadable(error)) from None
    except ValidationError as error:
        lines = []
        for found in error.errors(include_url=False):
            key = ".".join(str(part) for part in found["loc"] if part != "[key]")
            unknown = found["type"] == "extra_forbidden"
            lines.append(f"{key}: {'no such key' if unknown else found['msg']}")
        raise SettingsError("wrong settings: " + "; ".join(lines)) from None


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both_tables = {k for k in changes if isinstance(base.get(k), dict)}
    return base | {k: _merge(base[k], v) if k in both_tables else v for k, v in changes.items()}


def _unreadable(error: UnreadableVariable) -> str:
    """Which variable is not the JSON that lists and tables are written in."""
    section = re.search(r'field "(\w+)"', str(error))
    start = f"{PREFIX}{section[1].upper()}" if section else PREFIX
    names = [name for name in os.environ if name.upper().startswith(start) and not _is_plain(name)]
    where = ", ".join(names) or start
    return f'wrong settings: {where}: lists and tables are JSON, such as ["10.0.0.1"]'


def _is_plain(name: str) -> bool:
    """Whether the variable's key is one text or number, or its value JSON."""
    section, *keys = name.removeprefix(PREFIX).lower().split("__")
    model: Any = Settings.model_fields[section].annotation
    fields = getattr(model, "model_fields", {})
    kind = get_origin(fields[keys[0]].annotation) if keys and keys[0] in fields else dict
    try:
        return kind not in (list, dict) or json.loads(os.environ[name]) is not None
    except ValueError:
        return False


def _refuse_unknown_sections() -> None:
    for name in os.environ:
        if name.startswith(PREFIX) and name not in RESERVED:
            section, _, key = name.removeprefix(PREFIX).lower().partition("__")
            if section not in Settings.model_fields or bool(key) != (section not in ALONE):
                sections = [name for name in Settings.model_fields if name not in ALONE]
                raise SettingsError(
                    f"{name}: no such setting (the form is {PREFIX}SECTION__KEY, "
                    f"the sections are {', '.join(sections)})"
                )
