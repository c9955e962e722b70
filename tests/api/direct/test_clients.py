"""Other people's clients of tus, unpatched, over connections that are lost on the way."""

import io
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

from tests import images
from tests.api.direct import clients
from tests.api.direct.clients import BadConnection, node
from tests.machine import eventually, files_below, signal_group
from tests.stack import Stack

WEB: dict[str, str] = {}
CONTENT = images.noisy_gif((300, 300), 12)

#: Uploads the file of $FILE, and prints what it learns, a line of JSON each.
SCRIPT = """
const tus = require("tus-js-client");
const fs = require("fs");
const options = JSON.parse(process.env.OPTIONS);
const say = (said) => console.log(JSON.stringify(said));
const upload = new tus.Upload(fs.createReadStream(process.env.FILE), {
  endpoint: process.env.BASE + "/api/uploads",
  retryDelays: Array(60).fill(50),
  ...options,
  onProgress: (sent) => say({ sent }),
  onChunkComplete: (size, accepted) => say({ accepted }),
  onError: (error) => say({ error: String(error), status: error.originalResponse?.getStatus() }),
  onSuccess: async ({ lastResponse }) => {
    const gif = lastResponse?.getHeader("Gifster-Gif") ?? null;
    const told = await (await fetch(upload.url)).json();
    say({ gif, told, url: upload.url });
  },
});
upload.start();
"""


@pytest.fixture
def file(tmp_path: Any) -> str:
    path = tmp_path / "film.gif"
    path.write_bytes(CONTENT)
    return str(path)


def last(process: Any) -> dict[str, Any]:
    out, errors = process.communicate(timeout=180)
    assert out, errors
    said: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return said


def options(**values: object) -> str:
    metadata = {"filename": "film.gif", "filetype": "image/gif", "title": "Ein Film, 猫"}
    return json.dumps(
        {"uploadSize": len(CONTENT), "chunkSize": 10**9, "metadata": metadata} | values
    )


@pytest.mark.parametrize("during_creation", [False, True])
def test_tus_js_client(web: Stack, file: str, during_creation: bool):
    clients.require()
    with BadConnection(web.port, [] if during_creation else [70_000, 1_200, 90_000]) as way:
        base = f"http://127.0.0.1:{way.port}"
        given = options(uploadDataDuringCreation=during_creation)
        said = last(node(SCRIPT, BASE=base, FILE=file, OPTIONS=given))

    gif = said["told"]["gif"]
    assert (gif["title"], said["told"]["offset"]) == ("Ein Film, 猫", len(CONTENT))
    assert said["gif"] in (gif["id"], None)


def test_tus_js_client_is_told_why_a_file_is_refused(web: Stack, tmp_path: Any):
    clients.require()
    path = tmp_path / "poem.gif"
    path.write_bytes(b"A poem. " * 5_000)
    base = f"http://127.0.0.1:{web.port}"

    given = options(uploadSize=40_000)
    said = last(node(SCRIPT, BASE=base, FILE=str(path), OPTIONS=given))

    assert said["status"] == 415
    assert "type_not_allowed" in said["error"]


def test_tus_js_client_can_send_posts_only(web: Stack, file: str):
    clients.require()
    base, given = f"http://127.0.0.1:{web.port}", options(overridePatchMethod=True)
    said = last(node(SCRIPT, BASE=base, FILE=file, OPTIONS=given))
    assert said["told"]["gif"]["state"] == "queued"


def test_tus_js_client_goes_on_after_the_server_was_killed(
    new_stack: Callable[..., Stack], file: str
):
    # Given an upload in small requests that is half done
    clients.require()
    stack = new_stack()
    web = stack.start_web()
    base, given = f"http://127.0.0.1:{stack.port}", options(chunkSize=32_768)
    process = node(SCRIPT, BASE=base, FILE=file, OPTIONS=given)
    for line in process.stdout:
        accepted = json.loads(line).get("accepted", 0)
        if accepted > len(CONTENT) // 2:
            break

    # When the server is killed, and another one started
    signal_group(web, signal.SIGKILL)
    web.wait()
    stack.start_web()

    # Then the client never begins again
    said = last(process)
    assert said["told"]["gif"]["state"] == "queued"
    stack.start_worker()
    done = stack.finished(said["told"]["gif"]["id"])
    assert (done["state"], done["image"]["bytes"]) == ("ready", len(CONTENT))
    eventually(lambda: files_below(stack.var / "cache") == [])


@pytest.fixture
def tuspy(web: Stack) -> TusClient:
    return TusClient(f"http://127.0.0.1:{web.port}/api/uploads")


@pytest.mark.parametrize("given", [{}, {"chunk_size": 30_000, "upload_checksum": True}])
def test_tuspy(web: Stack, tuspy: TusClient, given: dict[str, Any]):
    uploader = tuspy.uploader(
        file_stream=io.BytesIO(CONTENT), metadata={"filename": "film.gif", "tags": "a, b"}, **given
    )
    uploader.upload()

    gif = web.gif(uploader.request.response_headers["gifster-gif"])
    assert (gif["title"], gif["tags"]) == ("film", ["a", "b"])


def test_tuspy_resumes_what_another_process_began(web: Stack, tmp_path: Any, file: str):
    # Given an upload of 90 % of a file, by a program that was stopped
    most = len(CONTENT) * 9 // 10
    base = f"http://127.0.0.1:{web.port}/api/uploads"
    known = {"store_url": True, "url_storage": FileStorage(str(tmp_path / "urls.json"))}
    named = {"metadata": {"filename": "film.gif"}, "retry_delay": 0}
    TusClient(base).uploader(file, chunk_size=most, **named, **known).upload(stop_at=most)

    # When the next one uploads the same file over a connection that is lost twice
    with BadConnection(web.port, [100_000, 500]) as way:
        url = TusClient(base).uploader(file, **named, **known).url
        again = TusClient(base).uploader(
            file, url=url.replace(str(web.port), str(way.port)), retries=9, **named
        )
        assert again.offset == most
        again.upload()

    told = web.client.get(url).json()
    assert told["gif"]["title"] == "film"
