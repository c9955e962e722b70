"""The pages' own files, and their address: it has a digest of them all, so browsers keep them for
a year. A script names another by a relative address, so one digest for all needs no import maps.
"""

import hashlib
import re
from pathlib import Path

from falcon.asgi import Request, Response

from gifster.jobs.page import rendering

STATIC = "/static"
STATIC_FOLDER = Path(__file__).parent / "static"
#: Where the files of the library's jobs page are.
JOBS_STATIC = f"{STATIC}/jobs"
_DIGEST = re.compile(rf"{STATIC}/([0-9a-f]{{12}})/")


def digest_of(*folders: Path) -> str:
    """Twelve digits that change when the name or the content of a file in one of the folders
    does."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()[:12]


DIGEST = digest_of(STATIC_FOLDER, rendering.STATIC)
#: What the addresses in our pages begin with. Without the digest, browsers revalidate a file each
#: time.
ADDRESS = f"{STATIC}/{DIGEST}"


class Digests:
    """Takes the digest out of an address before it is routed.

    While a new release starts, a page of one process may ask another for its files. So a digest of
    other files gets the present ones, which no browser keeps.
    """

    async def process_request(self, req: Request, resp: Response) -> None:
        if found := _DIGEST.match(req.path):
            req.context.immutable = found[1] == DIGEST
            req.path = f"{STATIC}/{req.path[found.end() :]}"
