"""A bucket of S3, or of any server with the same interface, as a storage.

Files larger than 8 MiB are uploaded in parts. A request that fails is retried with growing pauses
(botocore's standard mode), and then raises `StorageUnavailable`. `s3_client` knows how servers
other than Amazon's differ. boto3 is loaded with the first request.
"""

import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from gifster.uploads.content_types import is_inline, is_inline_key
from gifster.uploads.storage.base import (
    BaseUrl,
    PresignedUpload,
    StorageUnavailable,
    check_key,
    is_key,
    public_url,
)
from gifster.uploads.storage.s3_client import (
    Addressing,
    Body,
    Checksums,
    Connection,
    is_amazon,
)

PART_BYTES = 8 * 1024 * 1024
READ_BYTES = 256 * 1024
ATTACHMENT = "attachment"
#: The beginning of a body in aws-chunked framing: the length of its first piece.
_FRAMING = re.compile(rb"[0-9a-f]{1,8}(;chunk-signature=[0-9a-f]*)?\r\n", re.IGNORECASE)


class S3Storage:
    """Keeps files in a bucket, which must exist.

    Parameters:
      bucket: its name.
      prefix: the beginning of all keys in the bucket, such as `cache/`.
      endpoint_url: the server; None is Amazon's of that region. `upload()` asks any other server
        for the file's size, to be sure that it keeps the bytes that it was sent.
      region: such as `eu-central-1`; None leaves it to boto3.
      access_key_id, secret_access_key: None leaves it to boto3's own search (roles, profiles).
      base_url: comes before a key in `url()`, such as a CDN's `https://cdn.example.org`; or a
        function that returns it for a key. Without it, URLs are signed.
      public: whether everybody may read the files, so that `url()` is the plain address in the
        bucket, unless it is to expire. The bucket's policy, or `acl`, must allow it.
      expires_s: how long a signed URL is valid, unless `url()` is told otherwise (seconds).
      cache_control: the header that files are served with.
      acl: such as `public-read`; None sends none, as buckets with owner enforcement require.
      encryption: server-side encryption, `AES256` or `aws:kms`; None is the bucket's own default.
      kms_key_id: the key for `aws:kms`; None is the account's own.
      upload_options: further headers of each upload, in the words of boto3's `ExtraArgs`, such as
        `{"StorageClass": "STANDARD_IA"}` (CarrierWave's `fog_attributes`).
      client_options: further options of the client, as for botocore's `Config`, such as
        `{"use_fips_endpoint": True, "s3": {"use_accelerate_endpoint": True}}`.
      checksums: whether uploads carry a CRC32 beside the signature, over https as a trailer in
        `aws-chunked` framing: `when_supported`, or only `when_required` by the operation. `auto` is
        boto3's own default for Amazon, and `when_required` for other servers, as many do not know
        the framing.
      addressing: the place of the bucket's name: `path` or `virtual` (`bucket.host`). `auto` is
        `path` if there is an `endpoint_url`, else `virtual`, if the name can be a host's.
      ca_file: the authorities (PEM) that may sign the server's certificate, instead of the public
        ones; None leaves it to boto3 (`AWS_CA_BUNDLE`).
      timeout_s: how long one attempt may wait for an answer (seconds).
      attempts: how often to try a request before it counts as failed.

    Raises:
      ModuleNotFoundError: boto3 is not installed (the extra `s3`).
    """

    def __init__(  # noqa: PLR0913
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        base_url: BaseUrl = "",
        public: bool = False,
        expires_s: int = 3600,
        cache_control: str = "public, max-age=31536000, immutable",
        acl: str | None = None,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        upload_options: Mapping[str, Any] | None = None,
        client_options: Mapping[str, Any] | None = None,
        checksums: Checksums = "auto",
        addressing: Addressing = "auto",
        ca_file: str | Path | None = None,
        timeout_s: float = 20.0,
        attempts: int = 4,
    ) -> None:
        self.bucket, self.prefix = bucket, prefix
        self.base_url = base_url.rstrip("/") if isinstance(base_url, str) else base_url
        self.public, self.expires_s = public, expires_s
        self._connection = Connection(
            endpoint_url=endpoint_url or None,
            region=region or None,
            access_key_id=access_key_id or None,
            secret_access_key=secret_access_key or None,
            checksums=checksums,
            addressing=addressing,
            ca_file=Path(ca_file) if ca_file else None,
            timeout_s=timeout_s,
            attempts=attempts,
            options=client_options or {},
        )
        extra = {
            "CacheControl": cache_control,
            "ACL": acl,
            "ServerSideEncryption": encryption,
            "SSEKMSKeyId": kms_key_id,
        }
        self._extra = {name: value for name, value in extra.items() if value}
        self._extra |= upload_options or {}
        # The garbage collector may run while the client is made, and undo a save that needs it.
        self._lock = threading.RLock()
        self._client: Any = None
        self._unsigned: Any = None

    def upload(self, source: Path, key: str, content_type: str, **options: Any) -> None:
        """Keep a copy of a file (see `Storage`).

        Parameters:
          options: of this upload, like `upload_options`.
        """
        from boto3.s3.transfer import TransferConfig

        transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4
        )
        with self._translated(key):
            self._connected().upload_file(
                str(source),
                self.bucket,
                self._name(key),
                ExtraArgs={
                    "ContentType": content_type,
                    **_disposition(content_type),
                    **self._extra,
                    **options,
                },
                Config=transfer,
            )
        if not is_amazon(self._connected().meta.endpoint_url):
            self._check(key, source.stat().st_size)

    def _check(self, key: str, size: int) -> None:
        """Compare the size of an uploaded file with its source's, and delete it if they differ.

        Amazon's servers compare a checksum. Some other servers, and proxies before them, keep the
        framing in the file, or cut the file.
        """
        where = {"Bucket": self.bucket, "Key": self._name(key)}
        kept, why = 0, "a server or proxy on the way changes files"
        with suppress(FileNotFoundError), self._translated(key):
            kept = self._connected().head_object(**where)["ContentLength"]
            if kept == size:
                return
            if kept > size:
                begin = self._connected().get_object(**where, Range="bytes=0-127")["Body"].read()
                if _FRAMING.match(begin):
                    why = "it keeps the aws-chunked framing in the file: set "
                    why += 'checksums = "when_required"'
            self._connected().delete_object(**where)
        raise StorageUnavailable(
            f"S3 bucket {self.bucket!r}: the server was sent {size:,} bytes of {key} and keeps "
            f"{kept:,} ({why})"
        )

    def open(self, key: str) -> BinaryIO:
        with self._translated(key):
            answer = self._connected().get_object(Bucket=self.bucket, Key=self._name(key))
        return cast("BinaryIO", io.BufferedReader(Body(answer["Body"], key), READ_BYTES))

    def exists(self, key: str) -> bool:
        try:
            with self._translated(key):
                self._connected().head_object(Bucket=self.bucket, Key=self._name(key))
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        with suppress(FileNotFoundError), self._translated(key):
            self._connected().delete_object(Bucket=self.bucket, Key=self._name(key))

    def url(self, key: str, expires_s: int | None = None, **options: Any) -> str:
        """The URL of a file for a browser (see `Storage`).

        Parameters:
          options: of the answer, in the words of boto3's `get_object()`, such as
            `ResponseContentDisposition="attachment"`. Such a URL is signed.
        """
        name, plain = self._name(key), expires_s is None and not options
        if self.base_url and plain:
            return public_url(self.base_url, key, name)
        public = self.public and plain
        if not public and not is_inline_key(key):
            # some servers do not keep the header of the upload
            options = {"ResponseContentDisposition": ATTACHMENT, **options}
        client = self._addressing() if public else self._connected()
        with self._translated(key):
            url: str = client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": name, **options},
                ExpiresIn=self.expires_s if expires_s is None else expires_s,
            )
        return url

    @property
    def place(self) -> str:
        """The bucket and the prefix, whatever the address of the server."""
        return f"s3:{self.bucket}/{self.prefix}"

    def walk(self) -> Iterator[tuple[str, float]]:
        pages = self._connected().get_paginator("list_objects_v2")
        with self._translated(self.prefix):
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self.prefix)
                    if is_key(key):
                        yield key, item["LastModified"].timestamp()

    def now(self) -> float | None:
        """The time by the server's clock; None if it does not tell (RFC 9110, 6.6.1)."""
        with self._translated(self.prefix):
            # A policy may allow the list of this prefix alone.
            answer = self._connected().list_objects_v2(
                Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1
            )
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            return None

    def half_written(
        self, before: float, remove: bool, ours: Callable[[str], bool] = is_key
    ) -> Iterator[str]:
        """Multipart uploads that were never completed. A bucket keeps, and bills, their parts.

        Parameters:
          before: only uploads that began before this moment (seconds since the epoch).
          remove: whether to delete them.
          ours: says of a key whether it may be ours, for a bucket that others write into, too.
        """
        client = self._connected()
        with self._translated(self.prefix):
            for item in self._unfinished():
                mine = ours(item["Key"].removeprefix(self.prefix))
                if mine and item["Initiated"].timestamp() < before:
                    where = {"Key": item["Key"], "UploadId": item["UploadId"]}
                    if remove:
                        client.abort_multipart_upload(Bucket=self.bucket, **where)
                    yield "{Key} ({UploadId})".format(**where)

    def _unfinished(self) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import ClientError

        pages = self._connected().get_paginator("list_multipart_uploads")
        try:
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                yield from page.get("Uploads", ())
        except ClientError as error:
            # Some servers have no such list, and one says so if the list is empty.
            if error.response.get("Error", {}).get("Code") not in (
                "NoSuchUpload",
                "NotImplemented",
            ):
                raise

    def presign(self, key: str, size: int, content_type: str, expires_s: int) -> PresignedUpload:
        url = self._connected().generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self.bucket,
                "Key": self._name(key),
                "ContentLength": size,
                "ContentType": content_type,
                **_disposition(content_type),
            },
            ExpiresIn=expires_s,
        )
        return PresignedUpload("PUT", url, _signed_headers(content_type))

    def presign_form(
        self, key: str, sizes: tuple[int, int], content_type: str, expires_s: int
    ) -> PresignedUpload:
        fields = _signed_headers(content_type)
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        form = self._connected().generate_presigned_post(
            self.bucket,
            self._name(key),
            Fields=fields,
            Conditions=[*conditions, ["content-length-range", *sizes]],
            ExpiresIn=expires_s,
        )
        return PresignedUpload("POST", form["url"], {}, form["fields"])

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _addressing(self) -> Any:
        """A client that only knows the addresses of files, and signs nothing."""
        if self._unsigned is None:
            self._unsigned = self._connection.client(signed=False)
        return self._unsigned

    def _connected(self) -> Any:
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._connection.client()
        return self._client

    def _is_missing(self, error: Any, key: str) -> bool:
        """Whether an error says that there is no such file. A bare 404 may also come from a proxy
        whose server is away, or mean the bucket. The answer to HEAD is always bare."""
        code = _code_of(error)
        return code == "NoSuchKey" or (code in ("404", "NotFound") and not self._may_have(key))

    def _may_have(self, key: str) -> bool:
        """Whether the bucket lists a file, or cannot be asked."""
        from botocore.exceptions import BotoCoreError, ClientError

        name = self.prefix + key
        try:
            found = self._connected().list_objects_v2(Bucket=self.bucket, Prefix=name, MaxKeys=1)
        except ClientError as error:
            # S3 may answer that we must not list, or that it has no such lists.
            code, status = _code_of(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
            bare = code.isdigit() or code in ("NotFound", "")
            return bare or code == "NoSuchBucket" or (status >= 500 and code != "NotImplemented")
        except BotoCoreError:
            return True
        return any(item["Key"] == name for item in found.get("Contents", ()))

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, SSLError

        try:
            yield
        except ClientError as error:
            if self._is_missing(error, key):
                raise FileNotFoundError(key) from None
            raise StorageUnavailable(f"S3 bucket {self.bucket!r}: {error}") from error
        except SSLError as error:
            raise StorageUnavailable(
                f"S3 bucket {self.bucket!r}: {error} (if an authority of your own signed the "
                "server's certificate, set ca_file)"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            raise StorageUnavailable(f"S3 bucket {self.bucket!r}: {error}") from error


def _code_of(error: Any) -> str:
    """The code of a `ClientError`; the number of the status where the body is none of S3's."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _signed_headers(content_type: str) -> dict[str, str]:
    """What a client must say of a file that it writes itself."""
    shown = {} if is_inline(content_type) else {"Content-Disposition": ATTACHMENT}
    return {"Content-Type": content_type, **shown}


def _disposition(content_type: str) -> dict[str, str]:
    """What keeps browsers from showing a file in which scripts could run (RFC 6266, 4.2)."""
    return {} if is_inline(content_type) else {"ContentDisposition": ATTACHMENT}
