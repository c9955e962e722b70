"""Other people's clients, unpatched, against a running library: those whose base URL can be set,
and those whose host is fixed, behind a host override."""

import base64
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests import images
from tests.api.dropin import clients
from tests.api.dropin.clients import node, python, tls
from tests.machine import eventually
from tests.stack import Stack


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    clients.require()


@pytest.fixture(scope="module")
def overridden(
    library: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    with tls.overridden(tmp_path_factory.mktemp("tls"), library.port) as environment:
        yield environment


@pytest.fixture(scope="module")
def cats(library: Stack) -> list[str]:
    return sorted(gif["id"] for gif in library.client.get("/api/gifs").json()["items"])


def test_js_fetch_api(base: str, cats: list[str]):
    said = node(
        """
        const { GiphyFetch, setServerUrl } = require("@giphy/js-fetch-api");
        setServerUrl(process.env.BASE + "/v1/");
        const giphy = new GiphyFetch("any key");
        (async () => {
          const found = await giphy.search("cat", { limit: 10, sort: "recent" });
          const id = found.data[0].id;
          const failed = await giphy.gif("nonsense").catch((error) => error);
          console.log(JSON.stringify({
            found: found.data.map((gif) => gif.id).sort(),
            width: found.data[0].images.fixed_width.width,
            tags: found.data[0].tags,
            pagination: found.pagination,
            trending: (await giphy.trending({ limit: 1 })).data.length,
            random: (await giphy.random({ tag: "cat" })).data.title,
            related: (await giphy.related(id)).data.map((gif) => gif.id),
            one: (await giphy.gif(id)).data.id === id,
            several: (await giphy.gifs([id])).data.length,
            categories: (await giphy.categories()).data.map((one) => one.name),
            subcategories: (await giphy.subcategories("cat")).data.map((one) => one.name),
            below: (await giphy.gifs("cat", "funny")).data.length,
            stickers: (await giphy.search("cat", { type: "stickers" })).data.length,
            channels: (await giphy.channels("cat")).data,
            emoji: (await giphy.emoji()).data,
            variations: (await giphy.emojiVariations(id)).data,
            animated: (await giphy.animate("cat")).data,
            failed: [failed.status, failed.message],
          }));
        })();
        """,
        BASE=base,
    )
    assert said["found"] == cats
    assert said["width"] > 0
    assert said["tags"] == ["cat", "funny"]
    assert said["pagination"] == {"total_count": 2, "count": 2, "offset": 0}
    assert (said["trending"], said["several"], said["below"], said["one"]) == (1, 1, 2, True)
    assert said["random"] in ("A happy cat", "A sad cat")
    assert len(said["related"]) == 1
    assert sorted(said["categories"]) == ["cat", "funny"]
    assert said["subcategories"] == ["funny"]
    assert said["channels"] == said["emoji"] == said["variations"] == said["animated"] == []
    assert said["failed"][0] == 404


def test_tenor_gif_api(base: str, cats: list[str]):
    said = node(
        """
        const { default: Client } = require("tenor-gif-api");
        const tenor = new Client("any key", "tests");
        tenor.search.fetchWrapper.baseUrl = process.env.BASE + "/v2";
        (async () => {
          const first = await tenor.search.query({ q: "cat", limit: 1 });
          const second = await tenor.search.fetchNext(first.next);
          const id = first.results[0].id;
          console.log(JSON.stringify({
            found: [...first.results, ...second.results].map((gif) => gif.id).sort(),
            next: second.next,
            featured: (await tenor.featured.getFeatured({ limit: 1 })).results.length,
            posts: (await tenor.posts.getPosts({ ids: id })).results[0].id === id,
            categories: (await tenor.categories.getCategories()).tags.map((tag) => tag.searchterm),
            suggestions: (await tenor.suggestions.getSuggestions({ q: "cat" })).results,
            completed: (await tenor.autocomplete.getAutocomplete({ q: "fu" })).results,
            terms: Array.isArray((await tenor.trending.getTrendingTerms()).results),
            shared: (await tenor.registerShare.registerShare({ id, q: "cat" })) === undefined,
          }));
        })();
        """,
        BASE=base,
    )
    assert said["found"] == cats
    assert said["next"] == ""
    assert said["featured"] == 1
    assert sorted(said["categories"]) == ["cat", "funny"]
    assert "funny" in said["suggestions"]
    assert said["completed"] == ["funny"]
    assert said["posts"]
    assert said["terms"]
    assert said["shared"]


def test_tenorjs_behind_a_host_override(overridden: dict[str, str], cats: list[str]):
    said = node(
        """
        const Tenor = require("tenorjs").client({ Key: "any key", Filter: "off", Locale: "en_US" });
        (async () => {
          const found = await Tenor.Search.Query("cat", "10");
          console.log(JSON.stringify({
            found: found.map((gif) => gif.id).sort(),
            created: found[0].created_stamp,
            random: (await Tenor.Search.Random("cat", "2")).length,
            ids: (await Tenor.Search.Find(found.map((gif) => gif.id))).length,
            trending: (await Tenor.Trending.GIFs("1")).length,
            completed: await Tenor.Suggest.Autocomplete("fu"),
            suggested: await Tenor.Suggest.Suggestions("cat"),
            categories: (await Tenor.Categories.List("featured")).map((one) => one.searchterm),
            category: (await Tenor.Categories.Find("funny", "5")).length,
          }));
          process.exit(0);  // it is still looking for a newer release of itself
        })();
        """,
        overridden,
    )
    assert said["found"] == cats
    assert said["created"] > 1_700_000_000
    assert (said["random"], said["ids"], said["trending"], said["category"]) == (2, 2, 1, 2)
    assert sorted(said["categories"]) == ["cat", "funny"]
    assert said["completed"] == ["funny"]


def test_giphy_api_behind_a_host_override(overridden: dict[str, str], cats: list[str]):
    said = node(
        """
        const giphy = require("giphy-api")({ https: true });
        (async () => {
          const found = await giphy.search({ q: "cat", limit: 5, rating: "g" });
          const ids = found.data.map((gif) => gif.id).sort();
          console.log(JSON.stringify({
            ids,
            translated: (await giphy.translate("cat")).data.images.original.url,
            random: (await giphy.random("cat")).data.title,
            trending: (await giphy.trending({ limit: 1 })).data.length,
            several: (await giphy.id(ids)).data.length,
          }));
        })();
        """,
        overridden,
    )
    assert said["ids"] == cats
    assert (said["trending"], said["several"]) == (1, 2)
    assert said["translated"].startswith("http://127.0.0.1:")


def test_giphpy_behind_a_host_override(overridden: dict[str, str], cats: list[str]):
    # It checks each field of each answer.
    said = python(
        "giphpy",
        """if True:
        import json
        import giphpy
        asked = {"api_key": "any", "serialize": True}
        found = giphpy.search_gifs("cat", rating=giphpy.Rating.pg, **asked)
        ids = sorted(gif.id for gif in found.data)
        shared = found.data[0].analytics.onsent.url
        print(json.dumps({
            "ids": ids,
            "total": found.pagination.total_count,
            "one": giphpy.get_gif_by_id(ids[0], **asked).data.id,
            "several": len(giphpy.get_gifs_by_id(*ids, **asked).data),
            "translated": giphpy.gif_translate("cat", weirdness=3, **asked).data.type,
            "random": giphpy.random_gif(tag="cat", **asked).data.type,
            "trending": len(giphpy.trending_gifs(limit=1, **asked).data),
            "stickers": len(giphpy.search_stickers("cat", **asked).data),
            "categories": sorted(one.name for one in giphpy.categories(**asked).data),
            "completed": [term.name for term in giphpy.autocomplete("fu", **asked).data],
            "related": [term.name for term in giphpy.search_suggestions("cat", **asked).data],
            "terms": isinstance(giphpy.trending_search_terms(**asked).data, list),
            "random_id": len(giphpy.random_id(**asked).data.random_id),
            "channels": giphpy.channel_search("cat", **asked).data,
            "shared": giphpy.action_register(shared, "someone", 1, api_key="any").status_code,
        }))
        """,
        overridden,
    )
    assert said["ids"] == cats
    assert said["one"] == cats[0]
    assert (said["total"], said["several"], said["trending"]) == (2, 2, 1)
    assert said["categories"] == ["cat", "funny"]
    assert said["completed"] == said["related"] == ["funny"]
    assert (said["terms"], said["channels"], said["shared"]) == (True, [], 200)
    assert said["random_id"] > 0


def test_giphypop_behind_a_host_override(overridden: dict[str, str], library: Stack):
    said = python(
        "others",
        """if True:
        import base64, json, os, tempfile
        import giphypop
        giphy = giphypop.Giphy("any key")
        found = giphy.translate("cat")
        picture = tempfile.NamedTemporaryFile(suffix=".gif")
        picture.write(base64.b64decode(os.environ["GIF"]))
        picture.flush()
        print(json.dumps({
            "translated": [found.media_url, found.width, found.frames, found.fixed_width.still.url],
            "random": giphy.screensaver("cat").id,
            "same": giphy.gif(found.id).id == found.id,
            "unknown": giphy.translate("unknownword"),
            "uploaded": giphy.upload(["dog", "sleepy"], picture.name),
        }))
        """,
        {**overridden, "GIF": base64.b64encode(images.gif((30, 20))).decode()},
    )
    media_url, width, frames, still = said["translated"]
    assert media_url.startswith(still[:20])
    assert width > 0
    assert frames > 1
    assert said["same"]
    assert said["unknown"] is None
    # giphypop asks for its GIF at once; there is nothing to show yet.
    assert said["uploaded"] is None
    (dog,) = library.client.get("/api/gifs", params={"tag": "dog"}).json()["items"]
    assert dog["tags"] == ["dog", "sleepy"]
    library.client.delete(f"/api/gifs/{dog['id']}")


def test_safygiphy_and_the_official_python_client(base: str, cats: list[str]):
    said = python(
        "others",
        f"""if True:
        import json
        import giphy_client, safygiphy
        base = {base!r}
        old = safygiphy.Giphy()
        old.base = base + "/v1/gifs"
        api = giphy_client.DefaultApi(giphy_client.ApiClient(host=base + "/v1"))
        found = api.gifs_search_get("any", "cat", limit=5, rating="g")
        ids = sorted(gif.id for gif in found.data)
        print(json.dumps({{
            "old": sorted(gif["id"] for gif in old.search(q="cat")["data"]),
            "random": old.random(tag="cat")["data"]["type"],
            "ids": ids,
            "total": found.pagination.total_count,
            "url": found.data[0].images.fixed_height.url,
            "trending": len(api.gifs_trending_get("any").data),
            "translated": api.gifs_translate_get("any", "cat").data.type,
            "random_too": api.gifs_random_get("any", tag="cat").data.type,
            "one": api.gifs_gif_id_get("any", ids[0]).data.id == ids[0],
            "several": len(api.gifs_get("any", ",".join(ids)).data),
        }}))
        """,
    )
    assert said["old"] == said["ids"] == cats
    assert said["total"] == said["trending"] == said["several"] == 2
    assert said["url"].startswith(base)
    assert said["one"]


@pytest.fixture(scope="module")
def pickers(library: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with the pickers, which is not the library's."""
    folder = tmp_path_factory.mktemp("pickers")
    clients.bundle(clients.HERE / "page.jsx", folder / "page.js")
    (folder / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
        '<div id="root"></div><script src="page.js"></script>'
    )
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("picker", ["tenor", "giphy"])
def test_gif_picker_react(
    library: Stack,
    base: str,
    pickers: str,
    chromium: Any,
    cats: list[str],
    picker: str,
):
    # Given a page of another site with a picker, as people have it
    context = chromium.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{pickers}/?picker={picker}&base={base}")

    # When somebody chooses a category
    page.get_by_test_id("gpr-category").last.click()
    results = page.get_by_role("button", name="Select GIF")
    results.nth(1).wait_for()
    # and searches, and takes what is found
    page.get_by_role("textbox").fill("happy")
    page.wait_for_function(
        "() => { const found = document.querySelectorAll('.gpr-result-image img');"
        " return found.length == 1 && found[0].naturalWidth > 0 }"
    )
    results.click()
    page.wait_for_function("document.title")

    # I expect the GIF, with addresses that lead to pictures, and no error
    taken = json.loads(page.title())
    assert taken["id"] in cats
    assert taken["description"] == "A happy cat"
    assert (taken["width"], taken["height"]) == (60, 40)
    assert library.client.get(taken["imageUrl"]).headers["Content-Type"] == "image/gif"
    assert library.client.get(taken["preview"]["imageUrl"]).status_code == 200
    assert errors == []
    context.close()


def test_the_former_gif_picker_react_behind_a_host_override(
    library: Stack, base: str, pickers: str, chromium: Any, cats: list[str]
):
    # Given version 1.5, whose host is fixed, and a browser that is led to Gifster there
    context = chromium.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    tenor = "https://tenor.googleapis.com"

    def lead(route: Any) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(tenor, base)))

    context.route(f"{tenor}/**", lead)
    page.goto(f"{pickers}/?picker=old")

    # When somebody chooses a category, searches, and takes what is found
    page.locator(".gpr-category").last.click()
    results = page.locator(".gpr-gif-list img, .gpr-gif-list-column img")
    page.get_by_role("textbox").fill("happy")
    eventually(lambda: results.count() == 1 and results.evaluate("image => image.naturalWidth > 0"))
    results.click()

    # I expect the GIF, with addresses that lead to pictures, and no error
    taken = json.loads(eventually(page.title))
    assert taken["id"] in cats
    assert (taken["width"], taken["height"]) == (60, 40)
    assert library.client.get(taken["url"]).headers["Content-Type"] == "image/gif"
    assert library.client.get(taken["preview"]["url"]).status_code == 200
    assert errors == []
    context.unroute_all(behavior="ignoreErrors")
    context.close()
