"""File names and titles: whatever the name of a file, no part of it becomes a path."""

from pathlib import Path

import pytest

from gifster.uploads.files.filenames import clean_filename, form_filename
from tests import images
from tests.machine import files_below
from tests.stack import Stack

NAMES = {
    "parent folders": ("../../../etc/passwd.gif", "passwd"),
    "an absolute path": ("/etc/passwd.gif", "passwd"),
    "a Windows path": ("C:\\Users\\me\\cat.gif", "cat"),
    "only dots": ("..", "upload"),
    "300 characters": ("a" * 300 + ".gif", "a" * 200),
    "300 characters, not Latin": ("猫" * 300 + ".gif", "猫" * 200),
    "not Latin": ("Кошка и собака 猫 🐈.gif", "Кошка и собака 猫 🐈"),
    "right to left": ("قطة.gif", "قطة"),
    "hidden": (".htaccess", "htaccess"),
    "white space": ("  my   cat .gif", "my cat"),
    "markup": ("<script>alert(1)</script>.gif", "script>"),
    "an extension that is turned round": ("gif.\u202efdp.exe.gif", "gif.fdp.exe"),
    "spaces that hide an extension": ("cat.gif" + "\u00a0" * 80 + ".exe.gif", "cat.gif .exe"),
    "special spaces": ("my\u3000cat\u2028.gif", "my cat"),
    "an emoji of several": ("👩\u200d👩\u200d👧.gif", "👩\u200d👩\u200d👧"),
    "Persian": ("می\u200cروم.gif", "می\u200cروم"),
    "nothing that can be seen": ("\u3164\u200b.gif", "upload"),
    "NFD": ("Katzenu\u0308bung.gif", "Katzenübung"),
}


@pytest.mark.parametrize(("filename", "title"), NAMES.values(), ids=NAMES)
def test_a_file_name_is_a_label_and_never_a_path(stack: Stack, filename: str, title: str):
    answer = stack.upload(images.gif(), filename)

    assert answer.status_code == 202
    done = stack.finished(answer.json()["id"])
    assert done["title"] == title
    folder = stack.var / "store" / "gifs" / done["id"]
    stems = {Path(name).stem.partition("-")[0] for name in files_below(folder)}
    assert stems == {"original", *done["versions"]} > {"original", "thumb"}
    page = stack.client.get(f"/gifs/{done['id']}").text
    assert "<script>alert" not in page


def test_a_title_of_markup_is_shown_as_text(stack: Stack):
    answer = stack.upload(images.gif(), title='<img src=x onerror="alert(1)">')

    page = stack.client.get("/").text

    assert answer.json()["title"] == '<img src=x onerror="alert(1)">'
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


CLEAN = {
    "nothing": ("", "upload"),
    "only dots": ("...", "upload"),
    "dots and spaces at both ends": (". a.gif. ", "a.gif"),
    "controls": ("a\0\x07b.gif", "ab.gif"),
    "surrogates": ("a\udcff.gif", "a.gif"),
    "blanks before the extension": ("\u2800\u200e.gif", "upload.gif"),
    "20,000 combining marks": ("a" + "\u0301\u0316" * 10_000 + ".gif", None),
    "a path of other slashes": ("a\u2215b.gif", "a\u2215b.gif"),
    "a name that Windows reserves": ("CON.gif", "CON.gif"),
    "300 characters": ("a" * 300 + ".gif", "a" * 251 + ".gif"),
}


@pytest.mark.parametrize(("filename", "label"), CLEAN.values(), ids=CLEAN)
def test_a_label_is_one_line_of_at_most_255_characters(filename: str, label: str | None):
    cleaned = clean_filename(filename)

    assert cleaned == (label or cleaned)
    assert len(cleaned) <= 255
    assert clean_filename(cleaned) == cleaned


@pytest.mark.parametrize(
    ("sent", "name"),
    [("a%22b%22.gif", 'a"b".gif'), ("a%0D%0Ab.gif", "a b.gif"), ("100%25.gif", "100%25.gif")],
)
def test_only_the_escapes_of_browsers_are_decoded(sent: str, name: str):
    class Part:
        filename = sent

    assert clean_filename(form_filename(Part())) == name
