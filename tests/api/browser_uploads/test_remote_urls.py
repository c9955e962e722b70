"""Pictures of other sites: addresses in the upload form, with and without a script."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from gifster.api.receive import UploadForm
from tests import images
from tests.api.upload_form import open_form
from tests.stack import Stack

WEB = {"GIFSTER_UPLOADS__PRIVATE_REMOTES": "true"}
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
NO_FILE = {"image": ("", b"", "application/octet-stream")}


class OtherSite(BaseHTTPRequestHandler):
    """Any path that ends in `.gif` is a GIF."""

    def do_GET(self) -> None:
        found = self.path.endswith(".gif")
        body = images.gif((40, 30)) if found else b"nothing here"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "image/gif" if found else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def other_site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OtherSite)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def titles(web: Stack) -> list[str]:
    return [gif["title"] for gif in web.client.get("/api/gifs").json()["items"]]


def send(web: Stack, path: str, urls: str, **fields: str) -> httpx.Response:
    data = {"remote_image_url": urls, **fields}
    return web.client.post(path, files=NO_FILE, data=data, headers=PAGE)


def test_a_form_may_have_an_address_in_place_of_a_file(web: Stack, other_site: str):
    made = web.client.post(
        "/api/gifs",
        files=NO_FILE,
        data={"remote_image_url": f"{other_site}/far.gif", "title": "Far", "tags": "a, b"},
    )

    assert made.status_code == 202
    assert (made.json()["title"], made.json()["tags"]) == ("Far", ["a", "b"])
    # One at a time
    for files, urls in (
        (NO_FILE, f"{other_site}/1.gif {other_site}/2.gif"),
        ({"image": ("a.gif", images.gif(), "image/gif")}, f"{other_site}/1.gif"),
    ):
        refused = web.client.post("/api/gifs", files=files, data={"remote_image_url": urls})
        assert (refused.status_code, refused.json()["code"]) == (422, "too_many_images")


def test_a_page_takes_several_addresses_without_a_script(web: Stack, other_site: str):
    answer = send(web, "/gifs", f"{other_site}/one.gif\r\n{other_site}/two.gif\r\n")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert titles(web)[:2] == ["two", "one"]


def test_an_address_is_a_line(web: Stack):
    form = UploadForm(
        {"remote_image_url": [" http://a.b/a cat.gif \r\n\nhttp://a.b/1 https://a.b/2"]}
    )

    assert form.urls == ["http://a.b/a cat.gif", "http://a.b/1", "https://a.b/2"]


def test_an_address_may_have_a_space_in_it(web: Stack, other_site: str):
    assert send(web, "/gifs", f"{other_site}/a cat.gif").status_code == 303
    assert titles(web)[0] == "a cat"


def test_the_addresses_that_are_left_come_back_with_the_reason(web: Stack, other_site: str):
    urls = [f"{other_site}/{name}" for name in ("three.gif", "missing", "four.gif")]

    refused = send(web, "/gifs", "\n".join(urls), title="Typed")

    assert refused.status_code == 422
    assert "missing\n" in refused.text
    assert "four.gif</textarea>" in refused.text
    assert "three.gif" not in refused.text.partition("<textarea")[2].partition("</textarea>")[0]
    assert 'value="Typed"' in refused.text
    assert titles(web)[0] == "Typed"  # the first one is there


def test_a_form_with_nothing_in_it_comes_back(web: Stack):
    refused = send(web, "/gifs", "", title="Typed")

    assert refused.status_code == 422
    assert "Choose a file, or give the address of one." in refused.text
    assert 'value="Typed"' in refused.text


def test_addresses_are_sent_beside_files(chromium: Any, web: Stack, other_site: str):
    context = chromium.new_context(base_url=str(web.client.base_url))
    page = context.new_page()
    page.goto("/")
    open_form(page)

    page.get_by_label("Web addresses").fill(f"{other_site}/five.gif\n{other_site}/missing")
    page.get_by_label("Tags of all").fill("fetched")
    page.get_by_role("button", name="Upload").click()

    page.locator("#gallery article", has_text="five").wait_for()
    row = page.locator("#progress li", has_text="/missing")
    row.get_by_role("alert").wait_for()
    # What was wrong can be corrected
    row.get_by_role("button", name="Edit: ").click()
    assert page.get_by_label("Web addresses").input_value() == f"{other_site}/missing"
    assert page.get_by_label("Tags", exact=True).input_value() == "fetched"
    context.close()


def test_a_phone_shares_pictures_and_addresses_with_the_installed_page(
    chromium: Any, web: Stack, other_site: str
):
    # Given the page's manifest, as a browser reads it
    context = chromium.new_context(base_url=str(web.client.base_url))
    page = context.new_page()
    page.goto("/")
    read = context.new_cdp_session(page).send("Page.getAppManifest")
    context.close()
    assert read["errors"] == []
    manifest = json.loads(read["data"])
    target = manifest["share_target"]
    assert (target["method"], target["enctype"]) == ("POST", "multipart/form-data")
    for icon in manifest["icons"]:
        assert web.client.get(urljoin(read["url"], icon["src"])).status_code == 200
    # and what phones send with it, which is from no site
    sent = PAGE | {"Sec-Fetch-Site": "none"}
    fields = target["params"]

    # When I share a picture
    files = {fields["files"][0]["name"]: ("shared.gif", images.gif(), "image/gif")}
    answer = web.client.post(target["action"], files=files, headers=sent)
    assert answer.headers["location"].startswith("/gifs/")
    assert titles(web)[0] == "shared"

    # And an address, which Android puts into the text
    data = {fields["text"]: f"Look at this: {other_site}/pointed.gif", fields["url"]: ""}
    answer = web.client.post(target["action"], files=NO_FILE, data=data, headers=sent)
    assert answer.headers["location"].startswith("/gifs/")
    assert titles(web)[0] == "pointed"
