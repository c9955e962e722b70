"""Who may change GIFs of others, and GIFs without an owner."""

from collections.abc import Callable
from typing import Any

from tests.api.tokens.conftest import GIF, Person, bearer, cookie, refused
from tests.stack import Stack


def changes(path: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("PATCH", path, {"json": {"title": "mine now"}}),
        ("PUT", f"{path}/image", {"files": {"image": GIF}}),
        ("POST", path.removeprefix("/api") + "/delete", {}),
        ("DELETE", path, {}),
    ]


def test_a_gif_without_an_owner_is_changed_by_admins_only(
    web: Stack, development: Stack, person: Callable[[str], Person]
):
    # Given a GIF without an owner, from when anybody could write
    path = f"/api/gifs/{development.upload(GIF).json()['id']}"
    bob, ann = person("bob"), person("ann")
    ann.become_admin()

    # I expect that somebody with an account cannot change it
    for method, where, options in changes(path):
        assert refused(bob.ask(method, where, **options), 403, "no_owner"), method
    page = path.removeprefix("/api")
    assert f"{page}/trash" not in web.client.get(page, headers=cookie(bob.log_in())).text

    # Nor can an admin's script, whose token has no such scope
    writes = ann.new_token(scope="write")["token"]
    for method, where, options in changes(path):
        assert refused(ann.ask(method, where, token=writes, **options), 403, "no_owner"), method

    # But the admin can
    assert f"{page}/trash" in web.client.get(page, headers=cookie(ann.log_in())).text
    for method, where, options in changes(path)[:2]:
        assert ann.ask(method, where, **options).status_code in (200, 202)
    assert web.client.get(path).json()["title"] == "mine now"
    assert ann.ask("DELETE", path).status_code == 204


def test_in_development_anybody_may_change_a_gif_without_an_owner(
    web: Stack, development: Stack, person: Callable[[str], Person]
):
    bob = person("bob")
    for headers in ({}, bearer(bob.token), bearer(bob.new_token(scope="write")["token"])):
        path = f"/api/gifs/{development.upload(GIF).json()['id']}"
        page = development.client.get(path.removeprefix("/api"), headers=headers).text
        assert f"{path.removeprefix('/api')}/trash" in page
        assert development.client.delete(path, headers=headers).status_code == 204


def test_an_admin_may_change_gifs_of_others(web: Stack, person: Callable[[str], Person]):
    # Given a GIF of Bob's, and an admin with a script
    bob, ann = person("bob"), person("ann")
    path = bob.upload()
    ann.become_admin()
    writes = ann.new_token(scope="write")["token"]

    for method, where, options in changes(path):
        assert refused(ann.ask(method, where, token=writes, **options), 403, "not_yours"), method
    said = ann.ask("PATCH", path, token=writes, json={"title": "tidied"}).json()["detail"]
    assert "a token needs the scope admin" in said
    assert ann.ask("PATCH", path, json={"title": "tidied"}).status_code == 200
    assert ann.ask("PUT", f"{path}/image", files={"image": GIF}).status_code == 202
    # It stays Bob's
    assert bob.ask("PATCH", path, json={"title": "mine"}).status_code == 200
    assert ann.ask("DELETE", path).status_code == 204
