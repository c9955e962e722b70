"""The client for an S3 server: Amazon's own, or another one with the same interface.

Other servers get only what every S3 server understands: no checksums beyond the signature's, and
the bucket in the path. boto3 is loaded with the first client.
"""

import importlib.util
import io
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import urlsplit

from gifster.uploads.storage.base import StorageUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Checksums = Literal["auto", "when_supported", "when_required"]
Addressing = Literal["auto", "path", "virtual"]

#: How long the server's machine may be silent (seconds). One that is only busy acknowledges what it
#: gets.
SILENT_S = 8
#: The names of Amazon's endpoints before the partition's domain: s3.eu-central-1,
#: s3-fips.dualstack.us-east-1, bucket.vpce-1a2b.s3.us-east-1.vpce. A load balancer or a machine in
#: Amazon's domain is somebody's own server.
_AMAZON = re.compile(r"(.+\.)?s3[a-z0-9-]*(\.dualstack)?(\.[a-z]+(-[a-z]+)+-\d+)?(\.vpce)?")


@dataclass(frozen=True)
class Connection:
    """The server and how to talk to it; the parameters are those of `S3Storage`."""

    endpoint_url: str | None
    region: str | None
    access_key_id: str | None
    secret_access_key: str | None
    checksums: Checksums
    addressing: Addressing
    ca_file: Path | None
    timeout_s: float
    attempts: int
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if importlib.util.find_spec("boto3") is None:
            raise ModuleNotFoundError(
                "S3Storage needs boto3, which is not installed: pip install 'gifster[s3]'",
                name="boto3",
            )

    def client(self, *, signed: bool = True) -> Any:
        """A client of boto3. It opens no connection yet.

        Parameters:
          signed: whether it signs its requests.

        Raises:
          StorageUnavailable: boto3 cannot use these parameters.
        """
        from botocore.exceptions import BotoCoreError

        if self.ca_file and not self.ca_file.is_file():
            raise StorageUnavailable(f"S3 cannot be used: there is no ca_file {self.ca_file}")
        try:
            made = self._client(self.endpoint_url, signed)
            if not self.endpoint_url and not is_amazon(made.meta.endpoint_url):
                # AWS_ENDPOINT_URL, or a profile, names another server.
                made = self._client(made.meta.endpoint_url, signed)
        except (BotoCoreError, ValueError) as error:
            raise StorageUnavailable(f"S3 cannot be used: {error}") from error
        _give_up_when_silent(made)
        return made

    def _client(self, endpoint_url: str | None, signed: bool) -> Any:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        checksums: str | None = self.checksums
        if checksums == "auto":  # None leaves it to boto3, and to AWS_REQUEST_CHECKSUM_CALCULATION
            checksums = None if is_amazon(endpoint_url) else "when_required"
        addressing: str = self.addressing
        if addressing == "auto":
            # Servers other than Amazon's rarely answer to bucket.host. Amazon's own would get
            # signed URLs of the global host from boto3, which it redirects for new buckets.
            addressing = "path" if endpoint_url else "virtual"
        config = Config(
            signature_version="s3v4" if signed else UNSIGNED,
            connect_timeout=min(self.timeout_s, 5),
            read_timeout=self.timeout_s,
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            max_pool_connections=32,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        )
        s3 = {"addressing_style": addressing, **self.options.get("s3", {})}
        config = config.merge(Config(**{**self.options, "s3": s3}))
        return boto3.session.Session(botocore_session=_session()).client(
            "s3",
            config=config,
            endpoint_url=endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            verify=str(self.ca_file) if self.ca_file else None,
        )


def _session() -> Any:
    """A new session of botocore. All share the descriptions of Amazon's services: to parse them
    takes two thirds of the time in which a client is made."""
    from botocore.session import get_session

    made = get_session()
    made.get_component("data_loader").file_loader = _descriptions()
    return made


@cache
def _descriptions() -> Any:
    from botocore.loaders import JSONFileLoader

    class Once(JSONFileLoader):  # type: ignore[misc] # botocore has no types
        """Reads each file once. No session changes what it has read."""

        load_file = cache(JSONFileLoader.load_file)

    return Once()


def _give_up_when_silent(client: Any) -> None:
    """Have a client give up connections on which the server's machine acknowledges nothing. boto3
    has no option for it: it would wait for `timeout_s`, on each of the connections that it keeps.
    """
    wanted = {
        "TCP_KEEPIDLE": SILENT_S // 2,
        "TCP_KEEPINTVL": 2,
        "TCP_KEEPCNT": 2,
        "TCP_USER_TIMEOUT": SILENT_S * 1000,  # RFC 5482; Linux
    }
    client._endpoint.http_session._socket_options += [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *(
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in wanted.items()
            if hasattr(socket, name)
        ),
    ]


@cache
def is_amazon(endpoint_url: str | None) -> bool:
    """Whether an endpoint is Amazon's own, in any of its partitions. None, the default, is.

    It compares with the domains that botocore knows. An endpoint of Amazon's that it does not
    recognize works all the same, without the additional checksums.
    """
    if not endpoint_url:
        return True
    host = urlsplit(endpoint_url).hostname or ""
    for partition in _session().get_data("partitions")["partitions"]:
        for suffix in {partition["outputs"][key] for key in ("dnsSuffix", "dualStackDnsSuffix")}:
            name = host.removesuffix(f".{suffix}")
            if name != host and _AMAZON.fullmatch(name):
                return True
    return False


class Body(io.RawIOBase):
    """The body of a response. Its errors become `StorageUnavailable`."""

    def __init__(self, body: BinaryIO, key: str) -> None:
        self._body, self._key = body, key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        from botocore.exceptions import BotoCoreError, HTTPClientError
        from urllib3.exceptions import HTTPError

        try:
            data = self._body.read(len(memoryview(buffer)))
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
            raise StorageUnavailable(
                f"could not read all of {self._key} from S3: {error}"
            ) from error
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()
