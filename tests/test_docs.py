"""The documents of the repository: each link has a target, and each decision its own number."""

import importlib
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from docs.building import staging
from gifster.app.models import ImageUploader
from gifster.app.settings import Settings
from gifster.uploads import Downloader, Uploader, errors
from gifster.uploads.files import validation
from gifster.uploads.versions.declaring import versions_of

FOLDER = Path(__file__).parent.parent
DECISIONS = sorted((FOLDER / "docs" / "decisions").glob("[0-9]*.md"))
ROOMS = ("gifster", "tests", "chaos", "bench", "docs", "examples", "deploy")
PAGES = sorted([*FOLDER.glob("*.md"), *(p for r in ROOMS for p in (FOLDER / r).rglob("*.md"))])
#: A decision that code or a document names: `decision 31`, `Decisions 10 and 14`.
NUMBER = re.compile(r"[Dd]ecisions?\s+\[?(\d+)")
CODE = [p for room in ROOMS for p in (FOLDER / room).rglob("*.py")]


#: A file of our code, such as `jobs/outbox.py`. Guides also name files of their readers.
FILE = re.compile(r"`((?:[a-z_]+/)+[a-z0-9_]+\.py)`")
ABOUT_CODE = [FOLDER / "docs" / "design.md", FOLDER / "docs" / "operations.md", *DECISIONS]


#: A name of a library: `jobs.enqueue`, `uploads.endpoints.files`. A file is no name: `uploads.md`.
NAME = re.compile(r"(?<![\w/.-])(jobs|uploads|imaging)((?:\.[A-Za-z]\w*)+)")
FILES = {"md", "png", "py", "service", "sql"}
GUIDES = [FOLDER / "README.md", *sorted((FOLDER / "docs").glob("*.md"))]


def headings(page: Path) -> list[str]:
    """The anchors of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def named(page: Path) -> str:
    return str(page.relative_to(FOLDER))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path):
    assert len(set(headings(page))) == len(headings(page)), "two headings have the same anchor"
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8"))
    for link, anchor in links:
        target = page.parent / link if link else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in headings(target), f"{link}#{anchor}"


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_no_line_and_no_row_is_there_twice(page: Path):
    # As after a merge of two branches that changed the same row
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\|.*\n(?=\| -)", "", text, flags=re.MULTILINE)  # two tables may have one head
    told = (line for line in text.splitlines() if re.search(r"\w", line))
    lines = Counter(line for line in told if len(line) > 50)
    assert [line for line, count in lines.items() if count > 1] == []
    if page.name.startswith("coming-from"):
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            rows = Counter(row.split(" | ")[0] for row in table.splitlines())
            assert [row for row, count in rows.items() if count > 1] == []


def test_each_decision_has_a_number_of_its_own_which_its_title_repeats():
    numbers = Counter(page.name[:4] for page in DECISIONS)
    assert [number for number, count in numbers.items() if count > 1] == []
    for page in DECISIONS:
        assert page.read_text("utf-8").startswith(f"# {int(page.name[:4])}. "), page.name


def test_every_decision_that_is_named_exists():
    numbers = {int(page.name[:4]) for page in DECISIONS}
    for page in [*PAGES, *CODE]:
        unknown = {int(n) for n in NUMBER.findall(page.read_text("utf-8"))} - numbers
        assert unknown == set(), named(page)


def test_the_list_of_decisions_is_complete():
    index = (FOLDER / "docs" / "decisions" / "README.md").read_text("utf-8")
    links = re.findall(r"^- \[(\d+\. .*)\]\((.*)\)$", index, re.MULTILINE)
    titles = [page.read_text("utf-8").partition("\n")[0].removeprefix("# ") for page in DECISIONS]
    listed = [(title, page.name) for title, page in zip(titles, DECISIONS, strict=True)]
    differ = set(links) ^ set(listed)
    assert not differ, f"{differ}: write the title and the file's name in docs/decisions/README.md"
    assert len(links) == len(listed)


@pytest.mark.parametrize("page", ABOUT_CODE, ids=named)
def test_the_files_that_a_document_names_exist(page: Path):
    for name in FILE.findall(page.read_text("utf-8")):
        assert (FOLDER / name).exists() or (FOLDER / "gifster" / name).exists(), name


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_the_names_of_the_libraries_that_a_guide_writes_exist(page: Path):
    code = re.findall(
        r"^```python.*?^```|`[^`\n]+`", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    settings = Settings().uploads.model_dump()
    for library, dotted in NAME.findall("\n".join(code)):
        names = dotted.split(".")[1:]
        if names[0] in FILES or (library == "uploads" and names[0] in settings):
            continue
        found, path = importlib.import_module(f"gifster.{library}"), f"gifster.{library}"
        for name in names:
            path = f"{path}.{name}"
            if not hasattr(found, name):
                importlib.import_module(path)
            found = getattr(found, name)


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_the_python_of_a_guide_can_be_read(page: Path):
    for block in re.findall(
        r"^```python.*?\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    ):
        compile(block, page.name, "exec")


def test_the_page_on_uploaders_has_every_code_of_an_error():
    page = (FOLDER / "docs" / "uploaders.md").read_text("utf-8")
    found = {one.code for one in vars(errors).values() if hasattr(one, "code")}
    found.discard("image_refused")  # of gifster.imaging

    missing = {code for code in found if f"`{code}`" not in page}
    assert not missing, f"{missing}: add a row to 'Error codes' in docs/uploaders.md"


def test_the_readme_has_every_version_that_gifster_makes():
    page = (FOLDER / "README.md").read_text("utf-8")
    missing = {name for name in versions_of(ImageUploader) if f"`{name}`" not in page}

    assert not missing, f"{missing}: add it to the table of versions in README.md"


def test_the_page_on_uploaders_has_every_attribute_that_a_class_may_set():
    page = (FOLDER / "docs" / "uploaders.md").read_text("utf-8")
    found = {**vars(validation.Limits), **vars(Uploader)}
    settable = (str, int, tuple, frozenset, dict, bool, type(None), Downloader)
    names = {n for n, v in found.items() if not n.startswith("_") and isinstance(v, settable)}

    assert {"max_bytes", "keep_files", "downloader"} <= names
    missing = {name for name in names if f"`{name}`" not in page}
    assert not missing, f"{missing}: add a row to a table of docs/uploaders.md"


def test_each_page_is_in_the_navigation_of_the_site():
    config = (FOLDER / "mkdocs.yml").read_text("utf-8")
    listed = Counter(re.findall(r"^ +- .*: (\S+\.md)$", config, re.MULTILINE))
    pages = [source.relative_to(FOLDER) for source in staging.sources(FOLDER)]
    staged = {str(staging.staged(PurePosixPath(page))) for page in pages}
    # The list of decisions leads to each of them.
    wanted = {page for page in staged if not re.match(r"decisions/\d", page)}

    twice = {page for page, count in listed.items() if count > 1}
    differ = {page for page in listed if not page.startswith("reference/")} ^ wanted
    assert not twice, f"{twice}: name it once in `nav` of mkdocs.yml"
    assert not differ, f"{differ}: `nav` of mkdocs.yml names each page that there is, and no other"
