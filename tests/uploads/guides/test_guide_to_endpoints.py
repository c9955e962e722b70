"""The Python blocks of docs/endpoints.md, run in order in one application, and its two servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import httpx
import pytest

from gifster.uploads import mount
from tests import images
from tests.docs_code import DOCS, python_blocks

GUIDE = DOCS / "endpoints.md"


@pytest.fixture
def names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str
) -> Iterator[dict[str, Any]]:
    """What the blocks have defined."""
    from gifster.uploads import actors

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mount, "_models", {})  # other tests have tables of these names
    (tmp_path / "me.gif").write_bytes(images.gif((300, 200)))
    names: dict[str, Any] = {"__name__": "shop"}
    blocks = python_blocks(GUIDE.read_text("utf-8"))
    assert len(blocks) > 6
    for number, block in enumerate(blocks):
        code = block.replace("redis://127.0.0.1:6379/0", broker_url)
        exec(compile(code, f"block {number + 1} of {GUIDE.name}", "exec"), names)
        for actor in ("store_asset", "process_asset", "recreate_versions", "remove_files"):
            dramatiq.get_broker().declare_actor(getattr(actors, actor))
    yield names
    names["db"].close()
    dramatiq.get_broker().close()


def test_the_guide_to_endpoints_works_under_flask_and_fastapi(names: dict[str, Any]):
    import asyncio

    photo = names["product"].photo
    content, ann = Path("me.gif").read_bytes(), {"X-User": "ann"}

    async def under_fastapi() -> tuple[httpx.Response, ...]:
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (
                await client.post("/uploads/photos/", files={"file": content}, headers=ann),
                await client.post("/uploads/photos/", content=content),
                await client.get(photo.derivation_url("box", 60, 40)),
                await client.get(photo.url()),
            )

    uploaded, refused, box, file = asyncio.run(under_fastapi())

    assert (uploaded.status_code, refused.status_code) == (201, 403)
    assert images.size(box.content) == (60, 40)
    assert box.content == names["made"].content
    assert file.content == content
    assert names["client"].post("/uploads/photos/", content=content).status_code == 403
