"""What builds the docs site: its generated pages, and the check that it can be read offline."""

import tomllib
from pathlib import Path, PurePosixPath

import pytest

from docs.building import command_line, http_api, offline, reference, settings, staging
from gifster import imaging, jobs, uploads
from gifster.api import openapi

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://unpkg.com/mermaid"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/roboto.css">',
        '<img src="http://example.org/badge.svg">',
        '<p style="background: url(https://example.org/a.png)">',
        '<pre class="mermaid">',
    ],
)
def test_a_page_that_loads_something_from_elsewhere_is_found(tmp_path: Path, loads: str):
    (tmp_path / "page.html").write_text(f"<html><body>{loads}</body></html>")

    assert len(offline.loads_from_elsewhere(tmp_path)) == 1


def test_a_style_that_loads_something_from_elsewhere_is_found(tmp_path: Path):
    (tmp_path / "a.css").write_text("@import 'https://example.org/font.css'; p {}")
    (tmp_path / "b.css").write_text("p { background: url( '//example.org/b.png' ) }")

    assert len(offline.loads_from_elsewhere(tmp_path)) == 2


def test_links_to_other_sites_and_own_files_are_fine(tmp_path: Path):
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org">'
        '<script src="assets/a.js"></script><img src="data:image/png;base64,AA==">'
    )

    assert offline.loads_from_elsewhere(tmp_path) == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for name, text in {
        "CHANGELOG.md": "# Changes\n\nSee [the design](docs/design.md#rooms).\n",
        "docs/design.md": "# The design\n\n[a](images/a.svg) [b](../deploy/x.conf) "
        "[c](../deploy/) [d](../CHANGELOG.md)\n\n```md\n[e](../deploy/x.conf)\n```\n",
        "docs/jobs.md": "# Jobs\n\n```python file=a.py\npass\n```\n\n```sh skip\nls\n```\n",
        "docs/decisions/README.md": "# Decisions\n\n[f](../design.md) [g](https://example.org)\n",
        "docs/building/site.css": "",
        "docs/images/a.svg": "<svg/>",
        "deploy/x.conf": "listen 80;\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_links_lead_to_the_same_things_in_the_site(repository: Path, tmp_path: Path):
    target = tmp_path / "site"

    staging.stage(repository, target)

    assert "(design.md#rooms)" in (target / "changelog.md").read_text()
    design = (target / "design.md").read_text()
    assert "[a](images/a.svg) [b](files/deploy/x.conf.md)" in design
    assert "[c](files/deploy.md) [d](changelog.md)" in design
    assert "[e](../deploy/x.conf)" in design, "code stays as it is"
    decisions = (target / "decisions" / "README.md").read_text()
    assert "[f](../design.md) [g](https://example.org)" in decisions
    assert "listen 80;" in (target / "files" / "deploy" / "x.conf.md").read_text()
    assert "## x.conf" in (target / "files" / "deploy.md").read_text()
    assert (target / "images" / "a.svg").exists()


def test_code_has_no_words_for_our_tests(repository: Path, tmp_path: Path):
    staging.stage(repository, tmp_path / "site")

    text = (tmp_path / "site" / "jobs.md").read_text()
    assert text == '# Jobs\n\n```python title="a.py"\npass\n```\n\n```sh\nls\n```\n'


def test_a_link_to_nothing_is_an_error(repository: Path, tmp_path: Path):
    (repository / "docs" / "design.md").write_text("# The design\n\n[a](../deploy/y.conf)\n")

    with pytest.raises(FileNotFoundError, match=r"docs/design.md links to deploy/y.conf"):
        staging.stage(repository, tmp_path / "site")


@pytest.mark.parametrize(
    ("source", "staged"),
    [
        (
            "1. One\n\n   ```sh\n   ls\n     -l\n   ```\n\n2. Two",
            "1. One\n\n    ```sh\n    ls\n      -l\n    ```\n\n2. Two",
        ),
        (
            "- One\n  goes on\n- Two\n  - Inner\n    goes on",
            "- One\n    goes on\n- Two\n    - Inner\n        goes on",
        ),
        ("Text:\n- One\n- Two\n\nText", "Text:\n\n- One\n- Two\n\nText"),
        ("10. Ten\n\n    More", "10. Ten\n\n    More"),
        ("```\n- no list\n  - here\n```", "```\n- no list\n  - here\n```"),
    ],
)
def test_lists_are_indented_for_python_markdown(source: str, staged: str):
    assert staging._indented(source) == staged


def test_the_reference_has_each_public_name_once():
    pages = reference.pages()

    for name, module in (("uploads", uploads), ("jobs", jobs), ("imaging", imaging)):
        for one in module.__all__:
            path = reference.path_of(module, one)
            assert pages[f"{name}.md"].count(f"::: {path}\n") == 1


def test_the_reference_shows_a_function_and_not_the_module_of_its_name():
    assert reference.path_of(uploads, "sweep") == "gifster.uploads.sweep.sweep"
    assert reference.path_of(jobs, "Job") == "gifster.jobs.Job"


def test_the_settings_have_a_row_for_each_key():
    text = settings.page(ROOT / "settings.toml")

    sections = tomllib.loads((ROOT / "settings.toml").read_text())
    for name, values in sections.items():
        if isinstance(values, dict) and name != "profile":
            part = text.partition(f"## [{name}]")[2].partition("\n## ")[0]
            assert all(f"| `{key}` |" in part for key in values), name
    assert "|  |" not in text, "each key says what it means"


def test_the_http_api_has_each_operation_and_each_shape():
    text = http_api.page()

    document = openapi.document()
    for path, methods in document["paths"].items():
        for method in set(methods) - {"parameters"}:
            assert f"\n## {method.upper()} {path}\n" in text
    for shape in document["components"]["schemas"]:
        assert f"\n### {shape}\n" in text


def test_the_command_line_has_each_command():
    text = command_line.page()

    assert "\n## gifster jobs\n" in text
    assert "\n### gifster jobs retry\n" in text


def test_pages_of_the_repository_have_a_place():
    assert staging.staged(PurePosixPath("docs/decisions")) == PurePosixPath("decisions/README.md")
    assert staging.staged(PurePosixPath("README.md")) == PurePosixPath("index.md")
