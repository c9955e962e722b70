"""File names and titles: whatever people call their files, nothing of it becomes a path."""

import pytest

from tests import images
from tests.stack import Stack, files_below

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
}


@pytest.mark.parametrize(("filename", "title"), NAMES.values(), ids=NAMES)
def test_a_file_name_is_a_label_and_never_a_path(stack: Stack, filename: str, title: str):
    answer = stack.upload(images.gif(), filename)

    assert answer.status_code == 202
    done = stack.finished(answer.json()["id"])
    assert done["title"] == title
    folder = stack.var / "store" / "gifs" / done["id"]
    assert [name.rpartition("/")[2] for name in files_below(folder)] == [
        "original.gif",
        "poster.webp",
        "preview.gif",
        "thumb.gif",
    ]
    page = stack.client.get(f"/gifs/{done['id']}").text
    assert "<script>alert" not in page


def test_a_title_of_markup_is_shown_as_text(stack: Stack):
    answer = stack.upload(images.gif(), title='<img src=x onerror="alert(1)">')

    page = stack.client.get("/").text

    assert answer.json()["title"] == '<img src=x onerror="alert(1)">'
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
