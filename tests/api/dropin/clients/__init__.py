"""Other people's clients of Tenor and GIPHY, unpatched, as `make clients` has installed them."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.api import installed_clients
from tests.api.installed_clients import FOLDER

HERE = Path(__file__).parent
LOCKS = ("package-lock.json", "giphpy.txt", "others.txt", "maubot.txt")
#: The hosts that clients have fixed in their code.
HOSTS = ["tenor.googleapis.com", "api.giphy.com", "upload.giphy.com"]


def require() -> None:
    """Skip the test if the clients cannot run."""
    installed_clients.require(FOLDER, [HERE / name for name in LOCKS])


def node(script: str, overridden: Mapping[str, str] | None = None, **variables: str) -> Any:
    """What a script says: the JSON of the last line that it prints.

    Parameters:
      overridden: the environment that leads fixed hosts elsewhere (`tls.Overridden`).
      variables: more of the environment.
    """
    options = ["--require", str(HERE / "override_hosts.cjs")] if overridden else []
    return _said(["node", *options, "--eval", script], {**(overridden or {}), **variables})


def python(
    name: str,
    script: str,
    overridden: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """The same of a script for the virtual environment with that name."""
    more = dict(environment or {})
    if overridden:
        more |= {**overridden, "PYTHONPATH": str(HERE / "python")}
    return _said([str(FOLDER / name / "bin" / "python"), "-W", "ignore", "-c", script], more)


def bundle(source: Path, target: Path) -> None:
    """A script for browsers, with all that it imports."""
    esbuild = FOLDER / "node_modules" / ".bin" / "esbuild"
    options = ["--bundle", "--loader:.js=jsx", '--define:process.env.NODE_ENV="production"']
    command = [str(esbuild), str(source), *options, f"--outfile={target}", "--log-level=error"]
    environment = {**os.environ, "NODE_PATH": str(FOLDER / "node_modules")}
    subprocess.run(command, check=True, env=environment, timeout=180)


def _said(command: list[str], variables: Mapping[str, str]) -> Any:
    done = subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
