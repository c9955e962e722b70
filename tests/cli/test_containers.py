"""`deploy/Containerfile`, the compose files and the Kubernetes manifests: they fit each other and
the code, and Kubernetes' own schemas take the manifests. Nothing is built here
(docs/running/containers.md says what was)."""

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gifster.app.settings import load
from tests.stack import Stack

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
S3 = yaml.safe_load((DEPLOY / "compose.s3.yaml").read_text())
MANIFESTS = [
    document
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
#: What `.env` has.
FILLED_IN = {
    "GIFSTER_PUBLIC_URL": "https://gifs.example.org",
    "GIFSTER_SECRET": "a" * 64,
    "POSTGRES_PASSWORD": "b" * 64,
    "S3_URL": "https://files.example.org",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "c" * 64,
}
COMMANDS = {"migrate", "web", "worker", "scheduler"}


def of_kind(kind: str) -> dict[str, Any]:
    """The manifests of a kind, by name."""
    return {one["metadata"]["name"]: one for one in MANIFESTS if one["kind"] == kind}


PODS = {
    name: one["spec"]["template"]
    for kind in ("Deployment", "Job")
    for name, one in of_kind(kind).items()
}


def filled_in(value: str) -> str:
    """A value of a compose file with its variables replaced, as Compose does it."""

    def replace(found: re.Match[str]) -> str:
        name, otherwise = found["name"], found["otherwise"]
        if name in FILLED_IN:
            return FILLED_IN[name]
        assert found["sign"] == ":-", f"{name} must be in .env"
        return otherwise

    pattern = r"\$\{(?P<name>\w+)(?:(?P<sign>:[-?])(?P<otherwise>[^}]*))?\}"
    return re.sub(pattern, replace, value)


def test_what_the_image_copies_is_there_and_reaches_the_build():
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    assert all((ROOT / source).exists() for source in sources)
    assert sources == let_in
    # And nothing else that a checkout may have: secrets, uploads, a virtual environment
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    assert not any(
        fnmatch.fnmatch(name, one) for name in ("var", ".venv", ".env", ".git") for one in let_in
    )


def test_the_image_has_what_its_files_expect():
    user = re.search(r"^USER (\d+):", CONTAINERFILE, re.MULTILINE)
    folder = re.search(r"^VOLUME (\S+)", CONTAINERFILE, re.MULTILINE)

    assert user
    assert folder
    for name, pod in PODS.items():
        mounts = {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts == {folder[1], "/tmp"}, name
        assert pod["spec"]["securityContext"]["fsGroup"] == int(user[1]), name
    for name in COMMANDS:
        service = COMPOSE["services"][name]
        assert service["volumes"] == [f"files:{folder[1]}"], name
        assert service["read_only"] is True


def test_compose_and_kubernetes_start_commands_that_there_are(tmp_path: Path):
    started = {name: COMPOSE["services"][name]["command"] for name in COMMANDS}
    assert started == {name: [name] for name in COMMANDS}
    arguments = {name: pod["spec"]["containers"][0]["args"] for name, pod in PODS.items()}
    assert arguments == started
    stack = Stack(tmp_path, "")
    for name in COMMANDS:
        assert stack.run("gifster", name, "--help").returncode == 0


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, S3]], ids=["files", "s3"])
def test_the_settings_of_compose_are_settings(files: list[Any]):
    for name in COMMANDS:
        variables: dict[str, str] = {}
        for file in files:
            variables |= file["services"].get(name, {}).get("environment", {})
        loaded = load(ROOT / "settings.toml", {n: filled_in(v) for n, v in variables.items()})
        assert loaded.web.public_url == FILLED_IN["GIFSTER_PUBLIC_URL"]
        assert FILLED_IN["POSTGRES_PASSWORD"] in loaded.database.url
        on_s3 = len(files) == 2 and name != "migrate"
        assert (loaded.store.kind, loaded.cache.kind) == (
            ("s3", "s3") if on_s3 else ("local", "local")
        )


def test_the_example_of_env_names_each_variable_of_compose():
    named = set(
        re.findall(r"^#?(\w+)=", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE)
    )
    used = {
        name
        for path in ("compose.yaml", "compose.s3.yaml")
        for name in re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / path).read_text())
    }

    assert used - named == {"GIFSTER_IMAGE", "GIFSTER_PORT"}  # with defaults that suit
    assert named <= used


def test_the_settings_of_kubernetes_are_settings():
    data = of_kind("ConfigMap")["gifster"]["data"]
    comment = (DEPLOY / "kubernetes" / "settings.yaml").read_text()
    secrets = dict(re.findall(r"--from-literal=(GIFSTER_\w+)=(\".*?\"|\S+)", comment))
    assert len(secrets) == 5

    loaded = load(ROOT / "settings.toml", data | secrets)

    assert (loaded.store.kind, loaded.cache.kind) == ("s3", "s3")
    assert not data.keys() & secrets.keys()
    limit = PODS["worker"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert loaded.worker.max_memory_mb < int(limit.removesuffix("Gi")) * 1024


def test_the_manifests_fit_each_other():
    kustomization = next(one for one in MANIFESTS if one["kind"] == "Kustomization")
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert {*kustomization["resources"], "kustomization.yaml"} == files
    web, service = PODS["web"], of_kind("Service")["web"]
    port = web["spec"]["containers"][0]["ports"][0]
    assert service["spec"]["selector"] == web["metadata"]["labels"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert f"EXPOSE {port['containerPort']}" in CONTAINERFILE
    backend = of_kind("Ingress")["gifster"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    assert backend["service"] == {
        "name": "web",
        "port": {"name": service["spec"]["ports"][0]["name"]},
    }
    for name, pod in PODS.items():
        container, spec = pod["spec"]["containers"][0], pod["spec"]
        assert [name_of for source in container["envFrom"] for name_of in source.values()] == [
            {"name": "gifster"},
            {"name": "gifster"},
        ], name
        # A Service of the name `gifster` would set variables that are no settings.
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "memory" in container["resources"]["limits"]


def test_kubernetes_own_schemas_take_the_manifests():
    validate = shutil.which("kubernetes-validate")
    if validate is None:
        pytest.skip("no kubernetes-validate is installed (pip install kubernetes-validate, 110 MB)")
    paths = [
        path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml"
    ]

    checked = subprocess.run(
        [validate, "--strict", *paths], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
