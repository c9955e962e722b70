"""What somebody gets who installs the wheel: `pip install gifster`, in an empty environment."""

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import gifster
from tests import images
from tests.combinations import only_in_ci
from tests.distribution import Environment, NoIndex, build_wheel
from tests.machine import one_at_a_time

#: Imports every module of the libraries, except the pages that say which extra they need.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import gifster.imaging, gifster.jobs, gifster.uploads
at_first = sorted(sys.modules)
modules = ["gifster.jobs", "gifster.imaging", "gifster.uploads"]
for package in list(modules):
    path, prefix = sys.modules[package].__path__, package + "."
    modules += [found.name for found in pkgutil.walk_packages(path, prefix)]
for module in modules:
    if module == "gifster.jobs.brokers.rabbitmq":
        continue  # `connect()` looks for pika first
    try:
        importlib.import_module(module)
    except ImportError as error:
        if "pip install 'gifster[" not in str(error):
            raise
print(json.dumps({"at first": at_first, "in the end": sorted(sys.modules)}))
"""
#: What a process that only imports the libraries has no use for.
LATER = {"redis", "urllib3", "pika", "psycopg", "boto3", "av", "PIL.PngImagePlugin", "PIL.ImageCms"}
APPLICATION = {"app", "api", "actors", "cli", "scheduler"}
#: An application of a stranger's: a foreground upload, and a background one, without any server.
SHOP = """
import sys
from pathlib import Path
import dramatiq, peewee
from dramatiq.brokers.stub import StubBroker
from gifster import jobs, uploads
from gifster.uploads.testing import MemoryStorage, run_jobs

dramatiq.set_broker(StubBroker())
db = peewee.SqliteDatabase("shop.db")
db.bind(jobs.TABLES)
uploads.configure({"cache": uploads.LocalStorage("cache"), "store": MemoryStorage()}, secret="s")

class Picture(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image):
        return image.fit(20, 20)

@uploads.store_in_background("photo")
class Product(uploads.HasUploads, peewee.Model):
    photo = uploads.mount_uploader(Picture)
    photo_tmp = uploads.CacheField()
    class Meta:
        database = db

import gifster.uploads.actors
db.create_tables([Product, *jobs.TABLES])
product = Product(photo=Path(sys.stdin.readline()))
product.save()
assert product.photo.url() is None and run_jobs() == 1
print(Product.get().photo.url("thumb"))
"""
MISSING = """
import importlib
from gifster import jobs, uploads
for use in (
    lambda: importlib.import_module("gifster.jobs.page"),
    lambda: uploads.S3Storage("bucket"),
    lambda: uploads.FsspecStorage("gs://bucket"),
    lambda: uploads.Image().convert("mp4"),
    lambda: type("A", (uploads.Uploader,), {"allow_types": {"image/heic"}}),
    lambda: jobs.connect("amqp://localhost/shop"),
):
    try:
        use()
    except ImportError as error:
        print(error.name, error, sep=": ")
"""


@pytest.fixture(scope="module")
def wheel(run_folder: Path) -> Path:
    """The wheel, built once for all test processes."""
    folder = run_folder / "wheel"
    with one_at_a_time(run_folder / "wheel.lock"):
        if not folder.exists():
            building = run_folder / "wheel-building"
            build_wheel(building)
            building.rename(folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, run_folder: Path) -> Iterator[Environment]:
    """An environment in which only the wheel and what it needs is installed."""
    environment = Environment(run_folder / "installed")
    with one_at_a_time(run_folder / "installed.lock"):
        if not (environment.folder / "complete").exists():
            shutil.rmtree(environment.folder, ignore_errors=True)
            try:
                environment.make(wheel)
            except NoIndex as error:
                pytest.skip(f"the package index cannot be reached: {error}")
            (environment.folder / "complete").touch()
    return environment


def test_the_wheel_has_all_that_it_needs_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        (metadata,) = [archive.read(f).decode() for f in files if f.endswith("/METADATA")]

    assert {name.partition("/")[0] for name in files} == {
        "gifster",
        f"gifster-{gifster.__version__}.dist-info",
    }
    for name in ["py.typed", "app/mails/welcome.txt", "api/templates/base.html"]:
        assert f"gifster/{name}" in files
    assert "gifster/app/migrations/0001_first_tables.py" in files
    assert "gifster/jobs/migrations/0001_outbox.sql" in files
    assert any(name.startswith("gifster/api/static/") for name in files)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files)
    lines = metadata.splitlines()
    assert f"Version: {gifster.__version__}" in lines
    assert {"License-Expression: MIT", "Requires-Python: >=3.11"} <= set(lines)
    extras = [line.removeprefix("Provides-Extra: ") for line in lines if "Provides-Extra" in line]
    assert {"heic", "mp4", "postgresql", "rabbitmq", "s3", "server"} <= set(extras)


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_the_libraries_come_with_few_packages(installed: Environment):
    packages = installed.packages()

    assert packages.pop("gifster") == gifster.__version__
    assert len(packages) < 15, packages
    assert installed.megabytes() <= 45


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_the_libraries_load_nothing_of_the_application_and_what_they_need_late(
    installed: Environment,
):
    loaded = json.loads(installed.run(IMPORT_ALL))

    ours = {name.split(".")[1] for name in loaded["in the end"] if name.startswith("gifster.")}
    assert ours & APPLICATION == set()
    assert {"imaging", "jobs", "uploads"} <= ours
    assert LATER & set(loaded["at first"]) == set()
    assert LATER & set(loaded["in the end"]) == {
        "redis", "urllib3", "PIL.PngImagePlugin", "PIL.ImageCms",
    }  # fmt: skip


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_the_jobs_are_tested_without_images_and_uploads(installed: Environment):
    code = "import sys, gifster.jobs.testing; print(*sys.modules)"

    loaded = installed.run(code).split()

    assert not {name.partition(".")[0] for name in loaded} & {"PIL", "redis", "urllib3"}
    assert not [name for name in loaded if name.startswith(("gifster.uploads", "gifster.imaging"))]


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_an_application_of_a_strangers_works(installed: Environment, tmp_path: Path):
    (tmp_path / "cat.gif").write_bytes(images.gif((60, 40), [50] * 3))

    printed = installed.run(SHOP, input=str(tmp_path / "cat.gif"))

    assert printed.startswith("memory:/")
    assert printed.strip().endswith("thumb.gif")


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_the_commands_of_the_libraries_need_no_application(installed: Environment):
    code = "from gifster.jobs.command import main; main(['sql', 'sqlite'])"
    assert 'CREATE TABLE IF NOT EXISTS "outbox"' in installed.run(code)

    code = "from gifster.uploads.command import main; print(main(['install', 'no:Model', 'a']))"
    assert installed.run(code) == "1\n"


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_what_is_missing_names_its_extra(installed: Environment):
    messages = dict(line.split(": ", 1) for line in installed.run(MISSING).splitlines())

    assert messages == {
        "jinja2": "the jobs' page needs Jinja2, which is not installed: "
        "pip install 'gifster[jobs-page]'",
        "boto3": "S3Storage needs boto3, which is not installed: pip install 'gifster[s3]'",
        "fsspec": "FsspecStorage needs fsspec, which is not installed: "
        "pip install 'gifster[fsspec]'",
        "av": "convert('mp4') needs PyAV, which is not installed: pip install 'gifster[mp4]'",
        "pillow_heif": "HEIC needs pillow-heif, which is not installed: "
        "pip install 'gifster[heic]'",
        "pika": "broker URL amqp://…: RabbitMQ needs pika, which is not installed: "
        "pip install 'gifster[rabbitmq]'",
    }


@only_in_ci("7 s: pip installs the wheel; what it has in it is looked at daily")
def test_the_command_without_the_application_says_how_to_install_it(installed: Environment):
    for command in (["gifster", "web"], ["python", "-m", "gifster", "--help"]):
        program = installed.folder / "bin" / command[0]
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)

        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(
            "gifster: the application is not installed: pip install 'gifster[server]' (without it, "
        )
        assert done.stderr.endswith(" are missing)\n")
        assert done.stderr.count("\n") == 1
