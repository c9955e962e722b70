"""The Python blocks of docs/uploads.md, the pages that go on from it, and docs/storages.md, run in
order."""

from pathlib import Path

import dramatiq
import pytest

from gifster.uploads import safe_name
from gifster.uploads.testing import run_jobs
from tests.docs_code import DOCS, python_blocks

#: Each goes on from the blocks of those before it.
GUIDES = ("uploads.md", "uploaders.md", "sources.md", "sweep.md", "events.md")


def test_the_guide_to_uploads_works(in_a_folder: None, broker_url: str):
    from gifster.uploads import actors

    found = [(page, python_blocks((DOCS / page).read_text("utf-8"))) for page in GUIDES]
    assert all(blocks for _, blocks in found)
    names: dict[str, object] = {}
    for number, (page, block) in enumerate((page, b) for page, blocks in found for b in blocks):
        code = block.replace("redis://127.0.0.1:6379/0", broker_url)
        exec(compile(code, f"block {number + 1}, in {page}", "exec"), names)
        for actor in (
            "store_asset", "process_asset", "recreate_versions", "update_versions", "remove_files",
        ):  # fmt: skip
            dramatiq.get_broker().declare_actor(getattr(actors, actor))
        if number > 1:
            run_jobs()  # what the guide's worker does
    album = names["Album"].get()
    assert len(album.photos) == 3
    assert all(photo.url("small") for photo in album.photos)


def test_the_page_on_storages_works(in_a_folder: None, tmp_path: Path):
    names: dict[str, object] = {}
    for number, block in enumerate(python_blocks((DOCS / "storages.md").read_text("utf-8"))):
        exec(compile(block, f"block {number + 1} of storages.md", "exec"), names)

    # I expect the storage of one's own to keep the contract
    tests = names["TestDatabaseStorage"]()
    kept = [name for name in dir(tests) if name.startswith("test_")]
    assert len(kept) > 10
    for name in kept:
        (tmp_path / "files.db").unlink(missing_ok=True)
        getattr(tests, name)(names["DatabaseStorage"](str(tmp_path / "files.db")))


@pytest.mark.parametrize(
    ("filename", "name"),
    [("My Cat (1).gif", "My-Cat-1"), ("Übergröße.png", "Ubergroe"), ("../../etc/passwd", "passwd"),
     ("猫.gif", "file"), ("", "upload"), (".gif", "gif"), ("a" * 300, "a" * 100)],
)  # fmt: skip
def test_safe_names(filename: str, name: str):
    assert safe_name(filename) == name
