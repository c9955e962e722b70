"""Templates: what a name means in them."""

import jinja2
import pytest

from gifster.api.templating import templates


def test_a_key_of_a_dict_comes_before_its_methods() -> None:
    # Given a dict with a key that is called as a method of dicts is
    page = templates().from_string("{{ row.items }}, {{ row.title }}, {{ row.get('title') }}")

    # I expect its value; other names are still methods
    assert page.render(row={"items": 3, "title": "<cat>"}) == "3, &lt;cat&gt;, &lt;cat&gt;"


def test_a_name_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="colour"):
        templates().from_string("{{ row.colour }}").render(row={})


def test_a_template_is_not_looked_for_again() -> None:
    # Given a template that was used
    found, asked = templates(), []
    found.loader = jinja2.FunctionLoader(lambda name: ("", None, lambda: asked.append(name)))
    first = found.get_template("card.html")

    # I expect the same one, and nobody to ask whether its file has changed
    assert found.get_template("card.html") is first
    assert asked == []


def test_a_form_that_posts_begins_with_the_token() -> None:
    # Given forms, one of them with more than one line and with expressions
    source = """<form action="/a" method="post" data-x="{{ 2 > 1 }}"
      {%- if 2 > 1 %} data-y{% endif %}>A</form><form action="/b">B</form>"""

    # I expect the field in the form that posts, if the page has a token
    page = templates().from_string(source)
    field = '<input type="hidden" name="form_token" value="abc">'
    assert f' data-y>{field}A</form><form action="/b">B</form>' in page.render(form_token="abc")
    assert " data-y>A</form>" in page.render(form_token="")


def test_a_form_that_would_have_no_token_is_an_error() -> None:
    with pytest.raises(jinja2.TemplateSyntaxError, match="as one tag"):
        templates().from_string('<button formmethod="post">Delete</button>')
