"""What type checkers make of an application that uses the libraries: `typed/shop.py`.

Pyright is `basedpyright` here, in the modes that both share. Unlike the package `pyright` it brings
its JavaScript along, and Node.js.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from gifster.uploads import testing
from gifster.uploads.install import Wish, install
from tests import images
from tests.combinations import on_one_platform, only_in_ci
from tests.machine import ALL_EXAMPLES, BIN
from tests.uploads.framework import Application

ROOT = Path(__file__).parent.parent.parent.parent
SHOP = Path(__file__).parent / "typed" / "shop.py"
#: Where mypy keeps what it has read of the libraries, for each checkout of this machine: it looks
#: at the contents of each file, and at its own version and options.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gifster" / "mypy"

MODULES = ["shop.py", "one_file.py", "a_list.py", "processed.py"]

#: The examples, as modules of the same folder. Pyright leaves them out: in strict mode it reports
#: what Flask leaves unknown.
EXAMPLES = {
    f"{path.parent.name}_{path.name}" if path.name == "app.py" else path.name: path
    for path in [*ROOT.glob("examples/*/[a-z]*.py")]
}

MYPY = """
[mypy]
strict = true
[mypy-gifster.*]
follow_imports = silent
[mypy-playhouse.*]
ignore_missing_imports = true
"""
PYRIGHT = {
    "typeCheckingMode": "strict",
    "enableTypeIgnoreComments": False,
    "reportUnnecessaryTypeIgnoreComment": "error",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder apart from this repository, with the application's module, and with models that
    were written as the installer says."""
    shutil.copy(SHOP, tmp_path)
    for name, path in EXAMPLES.items():
        shutil.copy(path, tmp_path / name)
    model = "import peewee\nclass Author(peewee.Model): ...\n"
    (tmp_path / "authors.py").write_text(model)
    for name, wish in {
        "one_file": Wish("authors:Author", "avatar"),
        "a_list": Wish("authors:Author", "photos", many=True),
        "processed": Wish("authors:Author", "scan", process=True),
    }.items():
        advice = install(wish, tmp_path, lambda path: False)[-1]
        code = dedent(advice[advice.index("    from") : advice.index("and run the migration")])
        written = code.replace("(uploads.HasUploads, ...)", "(uploads.HasUploads, peewee.Model)")
        (tmp_path / f"{name}.py").write_text(f"import peewee\n{written}")
    return tmp_path


def check(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a type checker that finds the libraries as if they were installed."""
    paths = dict.fromkeys(("PYTHONPATH", "MYPYPATH"), str(ROOT))
    return subprocess.run(
        [*command], cwd=folder, env=os.environ | paths, capture_output=True, text=True, check=False
    )


def test_mypy_knows_every_type_of_a_strangers_application(folder: Path):
    # Given a stranger's options, and none of ours
    (folder / "mypy.ini").write_text(MYPY)

    # What was checked before is not checked again; in CI nothing was.
    cache = folder / "cache" if ALL_EXAMPLES else CACHE
    told = check([BIN / "mypy", "--cache-dir", cache, *MODULES, "actors.py", *EXAMPLES], folder)

    assert "Success: no issues found" in told.stdout, told.stdout + told.stderr


@only_in_ci("5 s of CPU, as it keeps no cache; mypy reads the same daily")
@pytest.mark.skipif(not (BIN / "basedpyright").exists(), reason="basedpyright is not installed")
def test_pyright_knows_every_type_of_a_strangers_application(folder: Path):
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))

    told = check([BIN / "basedpyright", "--pythonpath", sys.executable, *MODULES], folder)

    assert told.stdout == "0 errors, 0 warnings, 0 notes\n", told.stdout + told.stderr


@on_one_platform
def test_what_they_accept_also_runs(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tests.uploads.guides.typed import shop  # here, so that other tests do not have its models

    # Given the shop's storage and tables, an album and a product
    application.store = shop.FolderStorage(tmp_path / "pictures")
    application.configure()
    picture = images.still("PNG", (80, 60))
    (tmp_path / "cat.png").write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    shop.db.initialize(application.database)
    application.create_tables(shop.Product, shop.Album)
    album, product = shop.Album(), shop.Product()

    # When I assign files as the module does, and save
    assert shop.several_files(album, picture) == ["/nothing-thumb.png"]
    shop.form(product, None, {"remove": "on"})
    shop.one_file(product, album, picture)
    product.picture, product.process_picture_upload = picture, True
    product.save()

    # I expect the records to have them
    (url,) = shop.what_is_there(product)
    assert url is not None
    assert (tmp_path / url.removeprefix("/")).is_file()
    assert product.picture.caption() == "80×60"
    assert [job.actor for job in testing.enqueued()] == ["announce", "recreate_versions"]
