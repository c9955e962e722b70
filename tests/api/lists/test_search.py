"""Searching by HTTP and on the pages: filters, completions, tags, results while one types."""

import pytest

from tests import images
from tests.stack import Stack


@pytest.fixture(scope="module", autouse=True)
def _library(stack: Stack) -> None:
    for title, tags in [
        ("Walrus dances", "ice, happy dance"),
        ("Walrus sleeps", "ice"),
        ("Heron <b>walks</b>", "birds"),
    ]:
        assert stack.upload(images.gif(), title=title, tags=tags).status_code == 202


def titles(stack: Stack, **query: object) -> list[str]:
    answer = stack.client.get("/api/gifs", params=query)
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.json()["items"]]


def test_lists_are_filtered_sorted_and_paged(stack: Stack):
    assert titles(stack, q="dancing walrus") == ["Walrus dances", "Walrus sleeps"]
    assert titles(stack, q="walrus", sort="newest") == ["Walrus sleeps", "Walrus dances"]
    assert titles(stack, q="walrus", tag="happy dance") == ["Walrus dances"]
    assert titles(stack, q="walrus", rating="g", type="sticker") == []

    first = stack.client.get("/api/gifs?q=walrus&limit=1").json()
    second = stack.client.get(f"/api/gifs?q=walrus&limit=1&cursor={first['next']}").json()
    assert {page["items"][0]["title"] for page in (first, second)} == {
        "Walrus dances",
        "Walrus sleeps",
    }
    assert second["next"] is None


@pytest.mark.parametrize(
    ("path", "code", "detail"),
    [
        ("gifs?type=film", "type_invalid", "type is 'film': use gif, still or sticker."),
        ("gifs?rating=x", "rating_invalid", "rating is 'x': use g, pg, pg-13 or r."),
        (
            "gifs?sort=a%E2%80%AEb",
            "sort_invalid",
            "sort is 'a\\u202eb': use relevance, newest or popular.",
        ),
        ("gifs?user=ann", "user_invalid", "user is 'ann': use the id of a user."),
        (
            f"gifs?q=a&cursor={'YWxs' * 20}",
            "cursor_invalid",
            f"cursor is '{'YWxs' * 10}…': use `next` of the page before.",
        ),
        ("gifs?limit=500", "limit_invalid", "limit is 500: use 1 to 100."),
        ("search/complete?q=a&limit=a", "limit_invalid", "limit is 'a': use 1 to 100."),
        (
            f"search/complete?q={'a' * 300}",
            "q_too_long",
            f"q has at most 200 characters: '{'a' * 40}…' has 300.",
        ),
        ("tags?offset=-1", "offset_invalid", "offset is '-1': use 0 to 99999."),
    ],
)
def test_wrong_values_are_refused(stack: Stack, path: str, code: str, detail: str):
    answer = stack.client.get(f"/api/{path}")

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["detail"]) == (400, code, detail)


def test_the_page_says_which_words_it_has_searched_for_instead(stack: Stack):
    page = stack.client.get("/?q=walrsu%20ice").text

    assert "Showing results for <bdi>“walrus”</bdi>: no GIF has <bdi>“walrsu”</bdi>." in page
    assert "Showing results for" not in stack.client.get("/?q=walrus").text
    assert "Showing results for" not in stack.client.get("/?q=walrsuuu").text  # which finds nothing


def test_completions_suggestions_and_tags(stack: Stack):
    def items(path: str) -> list:
        return stack.client.get(path).json()["items"]

    assert items("/api/search/complete?q=wal")[0] == "walrus"
    assert "happy dance" in items("/api/search/complete?q=happy%20d")
    assert "ice" in items("/api/search/suggestions?q=walrus")
    assert "ice" in items("/api/search/trending")
    assert {"name": "ice", "count": 2} in items("/api/tags")
    assert len(items("/api/tags?limit=1&offset=1")) == 1
    page = stack.client.get("/tags").text
    assert 'href="/?tag=happy%20dance"' in page
    assert stack.client.get("/tags?page=900").text.count("No tags here") == 1


def test_results_come_while_one_types(open_page, stack: Stack):
    # Given the gallery, in which I type the beginning of a word
    page = open_page("/")
    field = page.get_by_role("combobox", name="Search titles and tags")
    field.press_sequentially("walr", delay=10)

    # I expect the results, their number for a screen reader, and suggestions
    page.wait_for_url("**/?q=walr")
    page.get_by_text("2 GIFs", exact=True).wait_for(state="attached")
    assert page.locator("#gallery article.card").count() == 2
    page.get_by_role("option", name="walrus").wait_for()
    assert field.get_attribute("aria-expanded") == "true"

    # When I choose one by keys
    field.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == "completion-0"
    field.press("Enter")

    # I expect its results; the back button leads to those before, and to all GIFs
    page.wait_for_url("**/?q=walrus")
    assert field.input_value() == "walrus"
    assert field.get_attribute("aria-expanded") == "false"
    page.go_back()
    page.wait_for_url("**/?q=walr")
    page.go_back()
    page.get_by_role("heading", name="Newest GIFs").wait_for(state="attached")
    assert field.input_value() == ""
    assert page.locator("#gallery article.card").count() >= 3


def test_what_is_found_is_no_markup(open_page, stack: Stack):
    page = open_page("/")
    field = page.get_by_role("combobox", name="Search titles and tags")
    field.press_sequentially("<i>heron", delay=5)

    page.get_by_text("1 GIF", exact=True).wait_for(state="attached")
    assert page.locator("#main i, #main b, #completions b").count() == 0
    field.press("Escape")
    assert field.input_value() == "<i>heron"
    assert field.get_attribute("aria-expanded") == "false"


def test_the_form_works_without_scripts(open_page, stack: Stack):
    page = open_page("/", java_script_enabled=False)
    page.get_by_label("Search titles and tags").fill("dancing walrus")
    page.get_by_label("Search titles and tags").press("Enter")

    page.wait_for_url("**/?q=dancing+walrus")
    assert page.locator("#gallery article.card").count() == 2
