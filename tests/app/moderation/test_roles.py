"""Members, moderators, admins."""

import peewee
import pytest

from gifster.app import accounts
from gifster.app.database import db
from gifster.app.errors import NotFound
from gifster.app.models import Gif, User
from gifster.app.moderation.log import ModerationEntry
from gifster.app.moderation.roles import Role, role_of, set_role, with_role
from gifster.app.settings import Settings
from tests.app.moderation.conftest import logged


def test_roles_are_derived_and_logged(people: dict[str, User]):
    roles = {name: role_of(user) for name, user in people.items()}
    assert roles == {"ann": "member", "bob": "member", "mo": "moderator", "root": "admin"}
    # An admin of the release before, and one who was a moderator
    assert role_of(User(is_admin=True, is_moderator=True)) is Role.ADMIN
    assert Role.ADMIN.covers(Role.MODERATOR)
    assert not Role.MEMBER.covers(Role.MODERATOR)

    set_role(people["bob"], Role.MODERATOR, people["root"], "helps")
    set_role(people["bob"], Role.MODERATOR, people["root"])
    assert with_role(Role.MODERATOR) == [people["bob"], people["mo"]]
    set_role(people["bob"], Role.MEMBER)
    assert with_role(Role.MEMBER) == [people["ann"], people["bob"]]
    assert logged() == [("role", "Root", "helps"), ("role", "", "")]
    people["bob"].delete_instance()
    with pytest.raises(NotFound):
        set_role(people["bob"], Role.ADMIN)


def test_the_first_admin_is_in_the_log_too(people: dict[str, User]):
    for is_admin, change in ((True, ["member", "admin"]), (False, ["admin", "member"])):
        accounts.set_admin("ann@example.org", is_admin)
        entry = ModerationEntry.select().order_by(ModerationEntry.at.desc()).get()
        assert (entry.user_id, entry.changed) == (people["ann"].id, {"role": change})


def test_a_row_of_the_release_before_has_a_role(booted: Settings):
    # Given a process that knows nothing of the new columns
    no = "false" if isinstance(db.obj, peewee.PostgresqlDatabase) else "0"
    db.execute_sql(
        'INSERT INTO "user" (id, email, name, password_hash, is_admin, created_at) '
        f"VALUES ('ann', 'ann@example.org', 'Ann', 'x', {no}, 1)"
    )
    db.execute_sql(
        "INSERT INTO gif (id, user_id, title, bytes, created_at, image_processing) "
        f"VALUES ('gif', 'ann', 'cat', 1, 1, {no})"
    )
    assert role_of(User.get_by_id("ann")) is Role.MEMBER
    assert Gif.get_by_id("gif").hidden_from is None
