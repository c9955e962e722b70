"""axe-core, which looks for barriers in a page (https://github.com/dequelabs/axe-core).

It is a package of npm's with one script that matters. It is fetched once, to the user's cache.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
#: WCAG 2.2 at the levels A and AA, and what axe calls best practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: The rules whose findings depend on the colour scheme and the size of the window.
BY_APPEARANCE = ("color-contrast", "target-size")

_FIND = """async ([tags, only]) => {
    const runOnly = only ? { type: "rule", values: only } : { type: "tag", values: tags };
    const found = await axe.run(document, { runOnly, resultTypes: ["violations"] });
    return found.violations.flatMap(({ id, nodes }) =>
        nodes.map((node) => `${id}: ${node.html.slice(0, 150)}: ${node.failureSummary}`));
}"""


def source() -> str:
    """The script. The test is skipped if it can neither be found nor fetched."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    package = caches / "gifster-tests" / f"axe-core-{VERSION}.tgz"
    if not package.exists():
        _fetch(package)
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    assert digest == SHA512, f"{package} is not axe-core {VERSION}: delete it"
    with tarfile.open(package) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def _fetch(package: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to fetch axe-core with (on Debian: apt install npm)")
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        packed = subprocess.run(
            [npm, "pack", f"axe-core@{VERSION}", "--pack-destination", folder, "--silent"],
            check=False, capture_output=True, text=True, timeout=120, cwd=folder,
        )  # fmt: skip
        if packed.returncode:
            pytest.skip(f"npm cannot fetch axe-core: {packed.stderr.strip()[:200]}")
        next(Path(folder).glob("*.tgz")).replace(package)


def barriers(page: Any, script: str, *rules: str) -> list[str]:
    """What axe finds in a page, a line each.

    Parameters:
      rules: the only rules that are tried; all, if there are none.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(script)
    found: list[str] = page.evaluate(_FIND, [TAGS, list(rules) or None])
    return found
