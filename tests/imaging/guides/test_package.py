"""The package from outside: its example, what it needs, and its former names."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gifster import imaging
from gifster.imaging import fingerprint, rendering, sandbox
from gifster.imaging.probe import probe
from tests import images

GUIDE = Path(__file__).parents[3] / "docs" / "imaging.md"
#: What a program that only works on images has no use for.
FOREIGN = ["peewee", "dramatiq", "redis", "boto3", "falcon", "granian", "click"]


def example() -> str:
    """The example in the package's docstring."""
    return textwrap.dedent(imaging.__doc__.partition("Example::\n")[2])


def test_the_example_runs_without_database_broker_and_application(tmp_path: Path):
    # Given a folder with a GIF, and a Python that cannot import anything else
    (tmp_path / "cat.gif").write_bytes(images.gif((400, 300), [50] * 3))
    forbid = f"import sys; sys.modules.update(dict.fromkeys({FOREIGN!r}))\n"
    show = "\nprint(*[name for name in sys.modules if name.startswith('gifster.')])"

    done = subprocess.run(
        [sys.executable, "-c", forbid + example() + show],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    facts, *made, modules = done.stdout.splitlines()
    assert facts == "image/gif 400 300 3 150"
    assert made[0] == "poster.webp"
    assert re.match(r"Fingerprint\(color='#\w{6}', thumbhash=", made[1])
    assert made[2] == "thumb.gif"
    assert all(name.startswith("gifster.imaging") for name in modules.split())
    thumb, poster = probe(tmp_path / "thumb.gif"), probe(tmp_path / "poster.webp")
    assert (thumb.width, thumb.height, thumb.frames) == (220, 165, 3)
    assert (poster.content_type, poster.width, poster.frames) == ("image/webp", 400, 1)


def test_a_process_that_has_preloaded_makes_versions_without_importing_anything(tmp_path: Path):
    # Given a GIF, and a process that forks for each picture
    (tmp_path / "cat.gif").write_bytes(images.gif((40, 30), [50] * 3))
    begin = (
        "import sys; from gifster.imaging import Image, preload, render_unsandboxed\n"
        "from gifster.imaging.probe import probe; from pathlib import Path\n"
        "preload(); before = set(sys.modules)\n"
    )
    make = (
        "recipes = {Path(f'thumb.{to}'): Image().fit(20, 20).convert(to)"
        " for to in ('gif', 'webp', 'png', 'mp4', 'webm')}\n"
        "recipes[Path('poster.jpg')] = Image().first_frame().convert('jpeg')\n"
        "made = list(render_unsandboxed(Path('cat.gif'), probe(Path('cat.gif')), recipes))\n"
    )
    show = "print(len(made), sorted(set(sys.modules) - before))"

    done = subprocess.run(
        [sys.executable, "-c", begin + make + show],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    # Then each picture's process has all it needs
    assert done.stdout == "7 []\n"


def test_the_blocks_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("me.gif").write_bytes(images.gif((300, 200), [50] * 3))
    blocks = re.findall(
        r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )

    exec("".join(blocks), {})

    assert (probe(Path("thumb.gif")).width, probe(Path("poster.webp")).width) == (220, 96)


@pytest.mark.parametrize(
    ("module", "former", "new_name", "value"),
    [
        (imaging, "Looks", "gifster.imaging.Fingerprint", imaging.Fingerprint),
        (imaging, "make", "gifster.imaging.render_unsandboxed", imaging.render_unsandboxed),
        (imaging, "load", "gifster.imaging.preload", imaging.preload),
        (imaging, "run_apart", "gifster.imaging.sandbox.run_sandboxed", sandbox.run_sandboxed),
        (sandbox, "run_apart", "gifster.imaging.sandbox.run_sandboxed", sandbox.run_sandboxed),
        (fingerprint, "Looks", "gifster.imaging.Fingerprint", imaging.Fingerprint),
    ],
)
def test_former_names_still_work_and_say_what_to_write_instead(
    module: object, former: str, new_name: str, value: object
):
    with pytest.warns(DeprecationWarning, match=f"{former} is now {re.escape(new_name)}$"):
        assert getattr(module, former) is value


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="has no attribute 'looks'"):
        _ = imaging.looks
    assert all(hasattr(imaging, name) for name in imaging.__all__)


def test_a_picture_of_the_callers_own_needs_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given a machine on which no process can be started
    monkeypatch.setattr(sandbox, "_current", sandbox._CurrentServer())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    source, small = tmp_path / "source.png", tmp_path / "small.png"
    source.write_bytes(images.still("PNG", (80, 60)))
    recipes = {small: imaging.Image().fit(20, 20)}

    # When I make a version without the sandbox
    with rendering.without_sandbox():
        made = list(imaging.render(source, probe(source), recipes))

    # I expect it, and that the sandbox is back
    assert small in made
    assert probe(small).width == 20
    with pytest.raises(sandbox.ProcessLost):
        list(imaging.render(source, probe(source), recipes))
