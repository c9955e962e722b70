"""Where clients with fixed hosts end up: a server on this machine that speaks TLS in the names of
Tenor and GIPHY, with certificates of an authority of the tests, and passes everything on."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.api.dropin.clients import HOSTS


@contextmanager
def overridden(folder: Path, port: int) -> Iterator[dict[str, str]]:
    """The environment for clients, while the server runs.

    Parameters:
      folder: gets the authority's certificate.
      port: where everything goes.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*HOSTS).configure_cert(context)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        starting = asyncio.start_server(_passing_to(port), "127.0.0.1", 0, ssl=context)
        server = asyncio.run_coroutine_threadsafe(starting, loop).result(60)
        yield {
            "OVERRIDE_HOSTS": json.dumps(HOSTS),
            "PORT_OF_80": str(port),
            "PORT_OF_443": str(server.sockets[0].getsockname()[1]),
            "NODE_EXTRA_CA_CERTS": str(folder / "ca.pem"),
            "SSL_CERT_FILE": str(folder / "ca.pem"),
            "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
        }
        loop.call_soon_threadsafe(server.close)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


def _passing_to(port: int):
    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copied(reader, back), _copied(there, writer))

    return passing


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
