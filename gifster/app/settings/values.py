"""How the values of settings are written: names, URLs, rates, modes, networks. Each kind says what
it must be like."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from gifster.app.hosts import host_entry, public_url, root_path

#: The least characters of a secret that nobody guesses, and of one that no power cut has damaged.
MIN_SECRET = 16
#: No setting has them. A file with line ends of Windows ends values in `\r`; bytes of a variable
#: that are not UTF-8 come as surrogates.
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(value: Any) -> Any:
    """A value that has no control characters, if it is text."""
    if isinstance(value, str) and _CONTROLS.search(value):
        raise ValueError(
            "must be UTF-8 without control characters (has the file line ends of Windows?)"
        )
    return value


def _like(pattern: str, must: str) -> AfterValidator:
    """Text that matches a pattern from its first character to its last.

    Parameters:
      must: the error, as it continues after "web.port: must".
    """
    compiled = re.compile(pattern, re.DOTALL)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(f"must {must}")
        return text

    return AfterValidator(check)


_NAME = "be lower-case letters, digits, - and _, begin with a letter, and have at most"
QueueName = Annotated[str, _like(r"[a-z][a-z0-9_-]{0,63}", f"{_NAME} 64 characters")]
RecurringName = Annotated[str, _like(r"[a-z][a-z0-9_-]{0,31}", f"{_NAME} 32 characters")]
#: A header of HTTP (RFC 9110, 5.1), as far as proxies use them.
HeaderName = Annotated[
    str, _like(r"[A-Za-z0-9-]{1,64}", "be the name of a header, such as X-Forwarded-For")
]
OptionalHeader = Annotated[
    str,
    _like(r"|[A-Za-z0-9-]{1,64}", "be empty, or the name of a header, such as Remote-Email"),
]
GroupName = Annotated[
    str, _like(r"[^,\x00-\x1f]{1,200}", "be the name of a group, without a comma")
]
Namespace = Annotated[
    str, _like(r"[A-Za-z0-9_.:-]{1,64}", "be 1 to 64 letters, digits, and the characters _ . : -")
]
SearchKey = Annotated[
    str, _like(r"[!-~]{1,200}", "be 1 to 200 letters, digits and other characters of ASCII")
]
MetricsToken = Annotated[
    str,
    _like(
        rf"|[!-~]{{{MIN_SECRET},200}}",
        f"be {MIN_SECRET} to 200 letters, digits and other characters of ASCII",
    ),
]
Secret = Annotated[
    str,
    _like(rf"|.{{{MIN_SECRET},}}", f"have {MIN_SECRET} characters or more: openssl rand -hex 32"),
]
_MAILBOX = r'[^<>@,;:"\s]+@[^<>@,;:"\s]+'
#: One mailbox (RFC 5322, 3.4). Of several, a mail server takes none.
Sender = Annotated[
    str,
    _like(
        rf'{_MAILBOX}|("(\\.|[^"\\])*"|[^<>@,;:"]*)\s*<{_MAILBOX}>',
        "be one address, such as Gifster <gifs@example.org>; a name with a comma is in quotation "
        "marks",
    ),
]
Prefix = Annotated[
    str,
    _like(
        r"|[A-Za-z0-9_-][A-Za-z0-9._/-]*/",
        "be empty, or letters, digits and the characters . _ / - with a / at the end",
    ),
]


def _url(url: str) -> str:
    """A URL that can be taken apart; of RabbitMQ, several with a semicolon in between."""
    try:
        for each in url.split(";") if url.startswith("amqp") else [url]:
            _ = urlsplit(each).port
    except ValueError:  # its text may have the password
        raise ValueError(
            "must be a URL, scheme://user:password@host:port/…, with a port of at most 65535; a "
            "password has %25 for %, %40 for @, %2F for / and %3A for :, and an IPv6 address "
            "brackets, [::1]"
        ) from None
    return url


def _with_a_file(url: str) -> str:
    """A URL that names a file, if it is one of SQLite."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        return url
    if parts.netloc or parts.query or parts.fragment or not parts.path.strip("/"):
        raise ValueError(
            "must name a file after three slashes: sqlite:///var/gifster.db, or with its whole "
            "path sqlite:////srv/gifster.db; %3F is ? in it, and %23 is #"
        )
    return url


def _libpq_url(url: str) -> str:
    """A URL that PostgreSQL's own library understands, if it is one of PostgreSQL."""
    if url.startswith("sqlite"):
        return url
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415 with SQLite it need not be there
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ImportError:
        raise ValueError("needs psycopg: pip install 'gifster[postgresql]'") from None
    try:
        conninfo_to_dict(url)
    except ProgrammingError:  # its text may have the password
        raise ValueError(
            "must be a URL as libpq reads it, postgresql://user:password@host/name; a password has "
            "%25 for %, %40 for @, and %2F for /"
        ) from None
    return url


DatabaseUrl = Annotated[
    str,
    _like(
        r"(sqlite|postgresql|postgres)://.*",
        "begin with sqlite:// or postgresql://, such as sqlite:///var/gifster.db",
    ),
    AfterValidator(_libpq_url),
    AfterValidator(_with_a_file),
]
BrokerUrl = Annotated[
    str,
    _like(
        r"|(redis|rediss|unix|amqp|amqps|stub)://.*",
        "be empty, or begin with redis://, rediss://, unix://, amqp:// or amqps://",
    ),
    AfterValidator(_url),
]
RedisUrl = Annotated[
    str,
    _like(r"|(redis|rediss|unix)://.*", "be empty, or begin with redis://, rediss:// or unix://"),
    AfterValidator(_url),
]
MailUrl = Annotated[
    str,
    _like(
        r"(file:|smtp://|smtps://).+",
        "begin with file:, smtp:// or smtps://, and go on with a folder or a host",
    ),
    AfterValidator(_url),
]
EndpointUrl = Annotated[
    str,
    _like(r"|https?://.*", "be empty, or begin with http:// or https://"),
    AfterValidator(_url),
]
#: Without https, anybody between here and there could log in as anybody; on this machine nobody is.
IssuerUrl = Annotated[
    str,
    _like(
        r"|https://[^\s?#]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^\s?#]*)?",
        "be empty, or the address of a service, such as https://login.example.org/realms/team "
        "(http:// on this machine alone)",
    ),
]
BaseUrl = Annotated[
    str, _like(r"|(https?://|/).*", "be empty, or begin with http://, https:// or /")
]
Encryption = Annotated[str, _like(r"|AES256|aws:kms", 'be empty, "AES256" or "aws:kms"')]

PublicUrl = Annotated[str, AfterValidator(public_url)]
RootPath = Annotated[str, AfterValidator(root_path)]
HostEntry = Annotated[str, AfterValidator(host_entry)]


def _address(text: str) -> str:
    """An address of a machine, without a zone: the web server takes neither that nor a name."""
    try:
        is_one = bool(ipaddress.ip_address(text)) and "%" not in text
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(
            "must be an address of this machine, such as 127.0.0.1 or ::1, or 0.0.0.0 or :: for "
            "all of them"
        )
    return text


Address = Annotated[str, AfterValidator(_address)]


def _folder(value: Any) -> Any:
    """Path("") would be the present folder, with all that is in it."""
    if value == "":
        raise ValueError("must name a folder, such as var/store")
    return value


Folder = Annotated[Path, BeforeValidator(_folder)]


def _network(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("must be an address like 10.0.0.1, or a network like 10.0.0.0/8") from None


Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)]


#: Rates that `limits` certainly accepts.
_PLAIN_RATE = re.compile(r"[1-9][0-9]{0,6}/([1-9][0-9]{0,2} )?(second|minute|hour|day)s?")


def _rate(text: str) -> str:
    if _PLAIN_RATE.fullmatch(text):
        return text
    import limits  # noqa: PLC0415 it takes longer than all the rest

    try:
        limits.parse(text)
    except ValueError:
        raise ValueError('must be like "10/hour" or "30/15 minutes"') from None
    return text


Rate = Annotated[str, AfterValidator(_rate)]


def _mode(value: Any) -> Any:
    """An octal number: the text "0640", or TOML's own 0o640. An empty text is None."""
    if not isinstance(value, str):
        return value
    try:
        return int(value, 8) if value else None
    except ValueError:
        raise ValueError('must be an octal number like "0640"') from None


Mode = Annotated[Annotated[int, Field(ge=0, le=0o7777)] | None, BeforeValidator(_mode)]
