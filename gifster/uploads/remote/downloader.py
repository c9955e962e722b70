"""Fetches an upload by its URL, from public servers only.

It looks up all addresses of the host first; all must be public. It then connects to an address that
it has checked, not to the name, which could mean another address a moment later ("DNS rebinding").
It checks each redirect in the same way, and does not use the proxies of the environment. The
content goes straight into the cache, under the uploader's limits.
"""

import ipaddress
import logging
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gifster.uploads.config import config
from gifster.uploads.errors import RemoteAddressRefused, RemoteFailed, RemoteUrlInvalid
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.sources import cache_pieces
from gifster.uploads.files.validation import Limits
from gifster.uploads.remote.addresses import is_public as _public
from gifster.uploads.remote.headers import filename, request_headers
from gifster.uploads.remote.url import RemoteUrl, parse
from gifster.uploads.text import has_controls

if TYPE_CHECKING:
    import urllib3

    from gifster.uploads.remote.answer import Times

logger = logging.getLogger("gifster.uploads")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: How many addresses of a host are tried.
MAX_ADDRESSES = 4
_REDIRECTS = {301, 302, 303, 307, 308}


class Downloader:
    """Fetches files by their URL. An uploader names one as its `downloader`.

    Subclass it to change what it allows:

        class FromOurArchive(Downloader):
            retries = 2

            def allows(self, host, address):
                return host == "archive.internal" or super().allows(host, address)

        class ScanUploader(Uploader):
            downloader = FromOurArchive()
    """

    #: How many redirects are followed.
    max_redirects = 5
    #: How long a server may take to connect, and between two pieces (seconds).
    stall_s = 10.0
    #: How long the whole file may take, with redirects and retries (seconds).
    total_s = 60.0
    #: How often to try again if there was no answer, or a status such as 503 (CarrierWave's
    #: `download_retry_count`).
    retries = 0
    #: How long to wait before the next try (seconds).
    retry_wait_s = 5.0

    def allows(self, host: str, address: Address) -> bool:
        """Whether to connect to an address of a host: by default, if it is public.

        It is called for each address of each host, also of each redirect. Every address that you
        allow can be read by everybody who may give a URL.

        Parameters:
          host: its name in ASCII and lower case, or an address.
        """
        return config.private_remotes or _public(address)

    def __call__(
        self, rules: type[Limits], url: str, headers: Mapping[str, str] | None = None
    ) -> CachedFile:
        """Fetch the file of a URL into the cache, and check it.

        Parameters:
          rules: the uploader class that is to take it.
          url: `http` or `https`.
          headers: of the request, such as `{"Authorization": "Bearer …"}`. A redirect to another
            host, port or scheme does not get them.

        Raises:
          RemoteUrlInvalid: the URL, or one of a redirect, is not an http or https URL of a host.
          RemoteAddressRefused: the host, or one of a redirect, is not allowed.
          RemoteFailed: the server did not send a file, or not in time.
          UploadError: the uploader does not take the file; nothing is left behind.
          ValueError: a header cannot be sent.
        """
        from gifster.uploads.remote.answer import Times, TryAgain  # noqa: PLC0415 loads urllib3

        if isinstance(url, str) and has_controls(url):
            raise RemoteUrlInvalid("The URL contains control characters. Copy it again.")
        place, sent = parse(url), request_headers(headers or {})
        times = Times(self.stall_s, self.total_s, time.monotonic() + self.total_s)
        for left in range(self.retries, 0, -1):
            try:
                return self._fetch(rules, place, sent, times)
            except TryAgain as error:
                if time.monotonic() + self.retry_wait_s >= times.deadline:
                    raise
                logger.info(
                    "fetch again host=%s retries_left=%d reason=%s", place.host, left, error
                )
                time.sleep(self.retry_wait_s)
        return self._fetch(rules, place, sent, times)

    def _fetch(
        self, rules: type[Limits], place: RemoteUrl, headers: Mapping[str, str], times: "Times"
    ) -> CachedFile:
        from gifster.uploads.remote.answer import request  # noqa: PLC0415 loads urllib3

        for _ in range(self.max_redirects + 1):
            addresses = self._addresses(place.host, place.port)
            with request(place, addresses, headers, times) as answer:
                location = (answer.headers.get("Location") or "").strip()
                if answer.status not in _REDIRECTS or not location:
                    return _cached(rules, place, answer, times)
            before, place = place, place.follow(location)
            if not place.may_know_what(before):
                headers = request_headers({})  # for good: that host could redirect back
        raise RemoteFailed(f"The URL redirects more than {self.max_redirects} times.")

    def _addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, in the order of their preference (RFC 6724).

        The error is the same for a name that does not exist and for one that only a private network
        knows. Otherwise a stranger could find out the names of that network.
        """
        addresses = _look_up(host, port)
        if not addresses and config.private_remotes:
            raise RemoteFailed(f"There is no host {host[:100]}. Check the URL.")
        if not addresses or not all(self.allows(host, address) for address in addresses):
            found = ",".join(str(address) for address in addresses)
            logger.info("fetch refused host=%s addresses=%s", host, found)
            raise RemoteAddressRefused("The URL's host cannot be found on the public internet.")
        return [str(address) for address in addresses[:MAX_ADDRESSES]]


#: Fetches a file with the default downloader.
fetch = Downloader()


def _cached(
    rules: type[Limits], place: RemoteUrl, answer: "urllib3.HTTPResponse", times: "Times"
) -> CachedFile:
    from gifster.uploads.remote.answer import content  # noqa: PLC0415 loads urllib3

    pieces = content(rules, place, answer, times)
    return cache_pieces(rules, pieces, filename(answer.headers, place))


def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(entry[4][0]) for entry in found]
