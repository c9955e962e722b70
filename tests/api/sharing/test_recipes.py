"""The recipes of docs/sharing.md, run as they are there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import images
from tests.stack import Stack

DOCS = Path(__file__).parents[3] / "docs" / "sharing.md"
PUBLIC = "https://gifs.example.org"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)


def test_the_commands_for_curl(stack: Stack, ann: dict[str, str], tmp_path: Path):
    if shutil.which("curl") is None:
        pytest.skip("no curl is installed (on Debian: apt install curl)")
    (tmp_path / "cat.gif").write_bytes(images.gif())
    base = f"http://127.0.0.1:{stack.port}"
    oembed, upload, download = blocks("sh")
    variables = {"GIFSTER": base, "TOKEN": ann["Authorization"].split()[1], "PATH": "/usr/bin:/bin"}

    def run(commands: str, **more: str) -> str:
        return subprocess.run(
            ["/bin/sh", "-euc", commands], cwd=tmp_path, env=variables | more, check=True,
            capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip

    link = run(upload).strip()
    assert re.fullmatch(rf"{base}/g/\w{{12}}", link)
    gif_id = link.rpartition("/")[2]
    assert stack.finished(gif_id)["title"] == "My cat"

    run(download, ID=gif_id)
    assert (tmp_path / "My cat.gif").read_bytes() == images.gif()
    assert json.loads(run(oembed, ID=gif_id))["title"] == "My cat"


def test_the_file_for_sharex(stack: Stack, ann: dict[str, str]):
    """ShareX sends what the file says, and puts values of the answer in place of `{json:…}`."""
    [text] = blocks("json")
    told = json.loads(text.replace(PUBLIC, f"http://127.0.0.1:{stack.port}"))
    token = ann["Authorization"].split()[1]
    assert (told["RequestMethod"], told["Body"]) == ("POST", "MultipartFormData")

    def upload(content: bytes) -> httpx.Response:
        return httpx.post(
            told["RequestURL"],
            headers={key: value.replace("TOKEN", token) for key, value in told["Headers"].items()},
            data=told["Arguments"],
            files={told["FileFormName"]: ("screen.gif", content)},
        )

    def filled(template: str, answer: dict[str, Any]) -> str:
        return re.sub(r"\{json:(\w+)\}", lambda found: str(answer[found[1]]), template)

    answer = upload(images.gif()).json()
    gif = stack.finished(answer["id"])
    assert (gif["title"], gif["tags"]) == ("screen", ["screen"])
    page = httpx.get(filled(told["URL"], answer), follow_redirects=True)
    assert (page.status_code, str(page.url)) == (200, filled(told["DeletionURL"], answer))
    assert filled(told["ErrorMessage"], upload(b"no picture").json()).endswith(".")


def test_the_lines_for_other_pages(stack: Stack, ann: dict[str, str]):
    """The addresses in the examples have the forms that the library answers."""
    answer = stack.client.post("/api/gifs", files={"image": images.gif()}, headers=ann).json()
    stack.finished(answer["id"])
    examples = "".join([*blocks("html"), *blocks("markdown"), *blocks("text")])
    addresses = set(re.findall(rf"{PUBLIC}(/\S+?)[\"\)\[]", examples))
    assert addresses == {"/g/bptnyvtZ6xqU.gif", "/embed/bptnyvtZ6xqU"}
    for path in addresses:
        assert stack.client.get(path.replace("bptnyvtZ6xqU", answer["id"])).status_code == 200
