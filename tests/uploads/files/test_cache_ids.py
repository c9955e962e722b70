"""Cache ids without an owner: each use copies the file. And files that clients write into the cache
directly. `test_cache_ids_with_an_owner` has those that give the file itself."""

import httpx
import pytest

from gifster.uploads import S3Storage, errors, presign
from gifster.uploads.files import cache_ids
from gifster.uploads.files.cache_ids import cache_id
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Person

GIF = images.gif(size=(80, 60))


def test_a_form_shown_again_keeps_its_file(application: Application):
    # Given a form that was refused for another reason
    refused = Person()
    refused.avatar.assign(GIF, "me.gif")
    hidden_field = refused.avatar_cache
    assert hidden_field

    # When it is sent again, twice
    for _ in range(2):
        person = Person()
        person.avatar_cache = hidden_field
        person.save()
    application.work()

    people = list(Person.select())
    assert [person.avatar.stored.filename for person in people] == ["me.gif", "me.gif"]
    assert people[0].avatar.stored.key != people[1].avatar.stored.key
    assert len(application.cached) == 1  # the refused form's, which the sweep will remove


def test_a_newly_chosen_file_wins_over_the_hidden_field(application: Application):
    refused = Person()
    refused.avatar = GIF
    person = Person()

    person.avatar = images.gif(size=(90, 60))
    person.avatar_cache = refused.avatar_cache
    person.save()
    application.work()

    assert Person.get_by_id(person.id).avatar.stored.width == 90


def test_an_empty_hidden_field_changes_nothing(application: Application):
    person = Person()
    person.avatar_cache = ""
    person.avatar_cache = None

    assert person.avatar_cache is None
    assert not person.avatar.changed


def test_only_a_text_signed_here_is_a_cache_id(application: Application):
    waiting = Person()
    waiting.avatar = GIF
    waiting.save()
    good = cache_id(waiting.avatar_tmp)
    application.configure(secret="another installation's")
    foreign = cache_id(waiting.avatar_tmp)
    application.configure()

    for text in (waiting.avatar_tmp.key, good[:-2], "x" + good, foreign, "..", "ä", "a.b.c"):
        with pytest.raises(errors.CacheIdInvalid):
            Person().avatar_cache = text


def test_a_cache_id_is_valid_for_an_hour(application: Application, monkeypatch: pytest.MonkeyPatch):
    person = Person()
    person.avatar = GIF
    text = person.avatar_cache

    monkeypatch.setattr(cache_ids, "CACHE_ID_S", -1)

    with pytest.raises(errors.CacheIdInvalid, match="Choose the file again"):
        Person().avatar_cache = text


def test_a_cache_id_of_a_file_that_is_gone_is_refused(application: Application):
    person = Person()
    person.avatar = GIF
    text = person.avatar_cache
    person.avatar.assigned.delete()

    with pytest.raises(errors.CacheFileMissing, match="Choose the file again"):
        Person().avatar_cache = text


def test_without_a_secret_there_are_no_cache_ids(application: Application):
    application.configure(secret="")
    person = Person()
    person.avatar = GIF

    with pytest.raises(LookupError, match="secret="):
        _ = person.avatar_cache


# A client that writes into the cache directly.


def test_a_client_can_write_into_the_cache_directly(application: Application):
    if not isinstance(application.cache, S3Storage):
        with pytest.raises(TypeError, match="Use an S3Storage"):
            presign(AvatarUploader, "me.gif", len(GIF), "image/gif")
        return

    # When a client makes the request that it was given, and sends the cache id
    direct = presign(AvatarUploader, "me.gif", len(GIF), "image/gif")
    answer = httpx.request(
        direct.request.method, direct.request.url, content=GIF, headers=direct.request.headers
    )
    assert answer.is_success, answer.text
    person = Person()
    person.avatar_cache = direct.cache_id
    person.save()
    application.work()

    assert Person.get_by_id(person.id).avatar.stored.filename == "me.gif"

    # I expect the content to be checked, whatever the client said about it
    liar = presign(AvatarUploader, "me.gif", 9000, "image/gif")
    httpx.put(liar.request.url, content=b"x" * 9000, headers=liar.request.headers)
    with pytest.raises(errors.TypeNotAllowed):
        Person().avatar_cache = liar.cache_id
    never = presign(AvatarUploader, "me.gif", 9000, "image/gif")
    with pytest.raises(errors.CacheFileMissing):
        Person().avatar_cache = never.cache_id


def test_a_direct_upload_over_the_limit_gets_no_request(application: Application):
    with pytest.raises(errors.TooLarge):
        presign(AvatarUploader, "me.gif", 2_000_000, "image/gif")


def test_a_direct_upload_of_another_type_gets_no_request(application: Application):
    with pytest.raises(errors.TypeNotAllowed):
        presign(AvatarUploader, "me.pdf", 100, "application/pdf")
