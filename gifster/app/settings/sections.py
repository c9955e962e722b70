"""What can be set: a class for each section of `settings.toml`, with the default of each key."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from gifster.app.settings.values import (
    Address,
    BaseUrl,
    BrokerUrl,
    DatabaseUrl,
    Encryption,
    EndpointUrl,
    Folder,
    GroupName,
    HeaderName,
    HostEntry,
    IssuerUrl,
    MailUrl,
    MetricsToken,
    Mode,
    Namespace,
    Network,
    OptionalHeader,
    Prefix,
    PublicUrl,
    QueueName,
    Rate,
    RecurringName,
    RedisUrl,
    RootPath,
    SearchKey,
    Secret,
    Sender,
    printable,
)

#: What Dramatiq's own keys in Redis begin with.
NAMESPACE = "dramatiq"
#: This machine, and the networks that no router of the internet leads to (RFC 1918, RFC 4193).
PRIVATE_NETWORKS = (
    "127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
)  # fmt: skip
#: Settings outside any section.
ALONE = {"durability"}


class Section(BaseModel):
    """A table of the file: frozen, and with no other keys than these."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _printable = field_validator("*", mode="before")(printable)


class Web(Section):
    host: Address = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    workers: int = Field(1, ge=1, le=64)
    threads: int = Field(16, ge=1, le=256)
    head_timeout_s: float = Field(10, ge=0.1, le=3600)
    body_stall_s: float = Field(30, gt=0)
    body_min_bytes_per_s: int = Field(500, ge=0)
    #: When told to stop: how long requests are still taken while `/readyz` answers 503, and then
    #: how long requests under way may last.
    drain_s: float = Field(0, ge=0, le=3600)
    grace_s: float = Field(10, ge=1, le=3600)
    trusted_proxies: list[Network] = []
    #: Which headers of these proxies count: for the client's address and scheme.
    client_address_header: HeaderName = "X-Forwarded-For"
    client_scheme_header: HeaderName = "X-Forwarded-Proto"
    #: The address that people use, scheme and host. Empty: not known.
    public_url: PublicUrl = ""
    #: The path that all addresses begin with. Empty: the library has a host of its own.
    root_path: RootPath = ""
    #: Further hosts to answer for.
    hosts: list[HostEntry] = []
    #: Whether the log gets a line for each request.
    access_log: bool = False
    #: Who may read `/metrics`: whoever connects from there, or sends the token.
    metrics_addresses: list[Network] = [ip_network(text) for text in PRIVATE_NETWORKS]
    metrics_token: MetricsToken = ""

    @property
    def home(self) -> str:
        """The address of the library for mails and other texts that leave it, without a slash at
        the end; empty if `public_url` is."""
        return self.public_url and self.public_url + self.root_path


def sqlite_file(url: str) -> Path:
    """The path in `sqlite:///relative/or//absolute/path.db`."""
    return Path(unquote(urlsplit(url).path.removeprefix("/")))


class Database(Section):
    url: DatabaseUrl = "sqlite:///var/gifster.db"

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database; None for PostgreSQL."""
        return sqlite_file(self.url) if self.url.startswith("sqlite") else None


class Broker(Section):
    url: BrokerUrl = ""
    #: What the keys in Redis begin with: applications on one Redis database need one each.
    namespace: Namespace = NAMESPACE

    @model_validator(mode="after")
    def _check_namespace(self) -> "Broker":
        if self.url.startswith("amqp") and self.namespace != NAMESPACE:
            raise ValueError(
                f"RabbitMQ has no namespaces (broker.namespace is {self.namespace!r}): "
                "name a virtual host in broker.url instead, amqp://host/name"
            )
        return self


class Queue(Section):
    """A queue's weight among the queues that have jobs, and the most threads of a worker process
    that it gets. In the file, a plain number is a weight."""

    weight: int = Field(1, ge=1, le=1000)
    max: int | None = Field(None, ge=1, le=64)
    #: The most of these threads that one user's jobs get; None: all but one.
    user_max: int | None = Field(None, ge=1, le=64)


def _queue(value: Any) -> Any:
    return value if isinstance(value, dict | Queue) else {"weight": value}


class Worker(Section):
    processes: int = Field(1, ge=1, le=64)
    threads: int = Field(4, ge=1, le=64)
    lease_s: float = Field(10, ge=1, le=3600)
    grace_s: float = Field(8, ge=0, le=3600)
    #: The most of one user's jobs that the broker has at once; the others wait in the outbox.
    max_jobs_per_user: int = Field(16, ge=1, le=10_000)
    #: A process that has more memory is restarted between two jobs. 0: no limit.
    max_memory_mb: int = Field(0, ge=0)


class Recurring(Section):
    """A recurring job. In the file, a plain text is its cron expression."""

    cron: str
    actor: str = ""
    arguments: list[Any] = []
    queue: str = "default"
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _check_cron(self) -> "Recurring":
        from gifster.jobs.cron_rules import next_after  # noqa: PLC0415 only where a job recurs

        next_after(self.cron, self.timezone)
        return self


def _recurring(value: Any) -> Any:
    return value if isinstance(value, dict | Recurring) else {"cron": value}


class Storage(Section):
    """A folder on this machine (`root`), a bucket, or a file system of fsspec (`url`)."""

    kind: Literal["local", "s3", "fsspec"] = "local"
    root: Folder
    #: Such as `gs://bucket/gifs` or `sftp://host/srv/gifs`; fsspec itself reads the credentials.
    url: str = ""
    bucket: str = ""
    prefix: Prefix = ""
    endpoint_url: EndpointUrl = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    #: What comes before a key in a URL: a CDN, or a public bucket.
    base_url: BaseUrl = ""
    url_expires_s: int = Field(3600, ge=1, le=7 * 24 * 3600)
    acl: str = ""
    encryption: Encryption = ""
    kms_key_id: str = ""
    #: A CRC32 with each upload. "auto": only to Amazon; many other servers do not know its framing.
    checksums: Literal["auto", "when_supported", "when_required"] = "auto"
    #: Where a URL has the bucket's name. "auto": in the path, except for Amazon.
    addressing: Literal["auto", "path", "virtual"] = "auto"
    #: The authorities (PEM) that sign the server's certificate, where no public authority does.
    ca_file: str = ""
    #: The modes of files and folders on this machine; None: only our own user can read them.
    permissions: Mode = None
    directory_permissions: Mode = None

    @model_validator(mode="after")
    def _check_modes(self) -> "Storage":
        if self.permissions is not None and self.permissions & 0o600 != 0o600:
            raise ValueError(
                f"permissions is {self.permissions:04o}: Gifster's own user must be able to read "
                "and write, so set 0600 or more"
            )
        if self.directory_permissions is not None and self.directory_permissions & 0o700 != 0o700:
            raise ValueError(
                f"directory_permissions is {self.directory_permissions:04o}: Gifster's own user "
                "must be able to enter, so set 0700 or more"
            )
        return self

    @model_validator(mode="after")
    def _check_url(self) -> "Storage":
        if self.kind == "fsspec" and "://" not in self.url:
            raise ValueError(
                f'kind is "fsspec", and url is {self.url!r}: set url, such as "gs://bucket/gifs"'
            )
        return self

    @model_validator(mode="after")
    def _check_bucket(self) -> "Storage":
        if self.kind == "s3" and not self.bucket:
            raise ValueError('kind is "s3", and no bucket is set: set bucket, or kind = "local"')
        return self


class Cache(Storage):
    root: Folder = Path("var/cache")


class Store(Storage):
    root: Folder = Path("var/store")


class Uploads(Section):
    max_bytes: int = Field(50 * 1024 * 1024, ge=1)
    max_pixels: int = Field(40_000_000, ge=1)
    max_frame_pixels: int = Field(8_300_000, ge=1)
    max_total_pixels: int = Field(2_000_000_000, ge=1)
    max_frames: int = Field(5_000, ge=1)
    max_duration_s: int = Field(3_600, ge=1)
    max_video_s: float = Field(60, gt=0)
    max_video_pixels: int = Field(8_000_000_000, ge=1)
    #: Read each stored file once in so many days, and compare its SHA-256. 0: never.
    deep_check_days: int = Field(30, ge=0, le=3_650)
    #: Originals are stored without their metadata, such as the place where a photo was taken.
    strip_metadata: bool = True
    #: How long a resumable upload is kept after its last byte came, until it is complete.
    unfinished_hours: int = Field(24, ge=1, le=24 * 30)
    #: Signs cache ids. Empty: Gifster makes one at its first start, and keeps it in var/secret.
    secret: Secret = ""
    private_remotes: bool = False


class Library(Section):
    #: How long GIFs stay in the trash. 0: until somebody empties it.
    trash_days: int = Field(30, ge=0, le=3_650)


class Retention(Section):
    """How long rows and files are kept that nobody asks for."""

    #: Dead jobs: how long, and how many of the newest.
    dead_job_days: int = Field(180, ge=1, le=3_650)
    dead_jobs: int = Field(10_000, ge=1, le=10_000_000)
    #: Uploads that failed and never had a picture. 0: until somebody deletes them.
    failed_days: int = Field(180, ge=0, le=3_650)
    #: Mails that were written as files. 0: until somebody deletes them.
    mail_days: int = Field(30, ge=0, le=3_650)


class Traces(Section):
    """Where OpenTelemetry's spans go."""

    #: A collector that speaks OTLP over HTTP. Empty: nobody traces.
    url: EndpointUrl = ""
    #: How many of all traces.
    fraction: float = Field(1.0, ge=0, le=1)
    #: Whether a request goes on with the trace that one of our proxies names.
    from_proxies: bool = False


class Mail(Section):
    url: MailUrl = "file:var/mail"
    sender: Sender = "Gifster <gifster@localhost>"
    password: str = ""

    @property
    def folder(self) -> Path | None:
        """The folder that mails are written to; None if a server sends them."""
        scheme, _, path = self.url.partition(":")
        return Path(path) if scheme == "file" else None


class Auth(Section):
    #: Who sees the library: everybody, or people who are logged in.
    read: Literal["public", "members"] = "public"
    anonymous_uploads: bool = False
    #: Whether anybody may change what was uploaded without an account. If not, moderators may.
    anonymous_changes: bool = False
    #: Who may make an account: anybody, people with an invitation, or nobody by themselves.
    sign_up: Literal["open", "invite", "closed"] = "open"
    #: Whether people must confirm their address before they can log in.
    confirm_emails: bool = False
    session_days: int = Field(30, ge=1, le=3_650)
    #: How long a token holds that is made without an end (days).
    token_days: int = Field(365, ge=1, le=3_650)
    #: Whether accounts may have addresses that only lead somewhere within one network.
    in_house_emails: bool = False
    #: Whether people log in with passwords, and with the passkeys of such accounts.
    passwords: bool = True
    #: The header in which a proxy tells who is logged in, by address; the proxies that may.
    proxy_header: OptionalHeader = ""
    proxy_addresses: list[Network] = []
    #: The header in which it tells their groups, with commas between them.
    proxy_groups_header: OptionalHeader = ""
    #: Of the sign-in service or the proxy: who may log in (empty: everybody), and who has a role.
    allowed_groups: list[GroupName] = []
    moderator_groups: list[GroupName] = []
    admin_groups: list[GroupName] = []

    @model_validator(mode="after")
    def _check_proxy(self) -> "Auth":
        if bool(self.proxy_header) != bool(self.proxy_addresses):
            raise ValueError(
                f"proxy_header is {self.proxy_header!r}, and proxy_addresses has "
                f"{len(self.proxy_addresses)} entries: set both, or neither. Whoever connects from "
                "one of these addresses can log in as anybody"
            )
        groups = self.allowed_groups + self.moderator_groups + self.admin_groups
        if self.proxy_header and groups and not self.proxy_groups_header:
            raise ValueError(
                "proxy_groups_header is empty, so nobody who comes by the proxy is in "
                f"{groups[0]!r}, and admins would lose their role: set it, or take the groups out"
            )
        return self


class Oidc(Section):
    """The sign-in service (OpenID Connect)."""

    #: Its address, as its own metadata writes it. Empty: there is none.
    issuer: IssuerUrl = ""
    client_id: str = ""
    client_secret: str = ""
    #: What the button calls it.
    name: str = Field("single sign-on", min_length=1, max_length=60)
    scopes: list[str] = ["openid", "profile", "email"]
    groups_claim: str = Field("groups", min_length=1)
    #: Whether somebody without an account gets one.
    sign_up: bool = True
    #: Whether all addresses are verified, though the service does not say so.
    trust_emails: bool = False

    @model_validator(mode="after")
    def _check_client(self) -> "Oidc":
        if self.issuer and not self.client_id:
            raise ValueError(
                f"issuer is {self.issuer!r}, and client_id is empty: set the id under which the "
                "service knows this library"
            )
        if self.issuer and "openid" not in self.scopes:
            raise ValueError(f"scopes is {self.scopes!r}: it must have 'openid'")
        return self


class Search(Section):
    #: Keys of the drop-in API. Empty: any key is taken, and none is needed.
    keys: list[SearchKey] = []


class Limits(Section):
    enabled: bool = True
    #: Where all web processes count together. Empty: in the broker, if that is Redis.
    url: RedisUrl = ""
    #: By address.
    sign_up: Rate = "10/hour"
    #: By address; and by browser that has logged in before, for its account.
    log_in: Rate = "20/15 minutes"
    #: For one account: by address, and for all browsers that have not logged in before.
    log_in_account: Rate = "10/15 minutes"
    log_in_account_everywhere: Rate = "100/hour"
    #: Mails with a link that anybody may ask for: by address, and by the address that gets them.
    mail: Rate = "20/hour"
    mail_account: Rate = "5/hour"
    #: By address, and by user.
    upload: Rate = "600/hour"
    edit: Rate = "1200/hour"
    #: Of the drop-in API: by key; by address where any key is taken.
    search: Rate = "6000/minute"
    #: Copies and downloads that count as uses, by address.
    use: Rate = "600/hour"
    #: Reports of GIFs, by address, and by user.
    report: Rate = "20/hour"
    #: Event streams and waiting pages that one address has open at once, in each web process.
    waiting: int = Field(50, ge=1)
    gifs_per_user: int = Field(10_000, ge=1)
    bytes_per_user: int = Field(5 * 1024**3, ge=1)


class Settings(Section):
    """All settings of one process. Frozen: a change needs a restart."""

    #: An accepted upload is on the disk before the answer ("fsync"), or when the system writes it.
    durability: Literal["fsync", "os"] = "fsync"
    web: Web = Web()
    database: Database = Database()
    broker: Broker = Broker()
    worker: Worker = Worker()
    queues: dict[QueueName, Annotated[Queue, BeforeValidator(_queue)]] = Field(
        {"default": Queue(weight=5), "carrierwave": Queue(weight=3)}, min_length=1
    )
    #: By name. A job without an `actor` runs the actor of that name.
    recurring: dict[RecurringName, Annotated[Recurring, BeforeValidator(_recurring)]] = {}
    cache: Cache = Cache()
    store: Store = Store()
    uploads: Uploads = Uploads()
    library: Library = Library()
    retention: Retention = Retention()
    traces: Traces = Traces()
    mail: Mail = Mail()
    auth: Auth = Auth()
    oidc: Oidc = Oidc()
    search: Search = Search()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _check_ways_in(self) -> "Settings":
        if not (self.auth.passwords or self.auth.proxy_header or self.oidc.issuer):
            raise ValueError(
                "auth.passwords is false, and neither oidc.issuer nor auth.proxy_header is set: "
                "nobody could log in. Set one of them"
            )
        return self

    @model_validator(mode="after")
    def _check_members(self) -> "Settings":
        """Everybody who has an address can fetch a file from a CDN or from a public bucket."""
        open_to_all = [
            name
            for name, is_open in [
                ("store.base_url", bool(self.store.base_url)),
                ("store.acl", self.store.acl.startswith("public-read")),
            ]
            if is_open
        ]
        if self.auth.read == "members" and open_to_all:
            names = " and ".join(open_to_all)
            raise ValueError(
                f'auth.read is "members", and {names} would let strangers fetch files: leave '
                f'{names} empty, or set auth.read = "public"'
            )
        return self
