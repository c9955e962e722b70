"""The log of moderation."""

from datetime import timedelta
from typing import Any

import peewee
import pytest

from gifster.app import accounts, library, search
from gifster.app.accounts import leaving
from gifster.app.models import User, now
from gifster.app.moderation import log
from gifster.app.moderation.log import ModerationEntry
from gifster.app.sign_in import second_factor
from gifster.app.sign_in.tables import Passkey
from tests.app.moderation.conftest import MODERATED, fresh, gif_of, logged, moderate


def test_what_commands_do_with_accounts_is_in_the_log(people: dict[str, User]):
    bob = people["bob"]
    Passkey.create(user=bob, credential="a", public_key=b"\0\1", name="Key")
    second_factor.remove_all(bob, noted=True)
    accounts.disable(bob)
    accounts.disable(bob)  # changes nothing
    accounts.enable(bob)
    leaving.leave(bob, with_gifs=False, by_command=True)
    leaving.leave(people["ann"], with_gifs=False)  # by herself

    found = [(entry.action, entry.subject, entry.changed) for entry in
             reversed(log.entries()[0])]  # fmt: skip
    assert found == [
        ("factor-off", "Bob", {"factors": [1, 0]}),
        ("disable", "Bob", {"disabled": [False, True]}),
        ("enable", "Bob", {"disabled": [True, False]}),
        ("leave", "Bob", {"gifs": ["", "kept"]}),
    ]


def test_a_change_that_fails_is_not_in_the_log(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
):
    gif = gif_of(people["ann"])

    def broken(*_: Any) -> None:
        raise peewee.OperationalError("the disk is full")

    monkeypatch.setattr(search, "put", broken)
    with pytest.raises(peewee.OperationalError):
        moderate(gif, "hide", people["mo"])
    assert fresh(gif).hidden_from is None
    assert logged() == []


def test_the_log_outlives_the_gif_and_the_people(people: dict[str, User]):
    ann, mo = people["ann"], people["mo"]
    gif = gif_of(ann, title="c" * 200, alt_text="a" * 1000)
    long = '"\\\U0001f600' * 300
    library.edit_gif(gif.id, mo, alt_text=long, tags=[f"{n:050}" for n in range(20)],
                     reach=MODERATED, reason="r" * 1000)  # fmt: skip
    library.delete_gif(gif.id, mo, MODERATED, "x")
    ann.delete_instance()
    mo.delete_instance()

    (deleted, edited), following = log.entries(gif_id=gif.id)
    assert following is None
    assert (edited.moderator_id, edited.moderator_name) == (None, "Mo")
    assert edited.subject == "c" * 200
    assert all(len(value) <= 300 for pair in edited.changed.values() for value in pair)
    assert deleted.action == "delete"


def test_pages_of_the_log_and_its_end(people: dict[str, User]):
    gifs = [gif_of(people["ann"]) for _ in range(5)]
    for gif in gifs:
        moderate(gif, "hide", people["mo"])
    seen, cursor = [], ""
    while cursor is not None:
        found, cursor = log.entries(cursor=cursor, limit=2)
        seen += [entry.gif_id for entry in found]
    assert sorted(seen) == sorted(gif.id for gif in gifs)

    ModerationEntry.update(at=now() - timedelta(days=731)).where(
        ModerationEntry.gif_id == gifs[0].id
    ).execute()
    assert log.forget_old() == 1
    assert ModerationEntry.select().count() == 4
