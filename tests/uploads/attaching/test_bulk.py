"""Bulk writes and queries on models with mounted columns."""

from pathlib import Path
from typing import Any

import peewee
import pytest

from tests.combinations import on_one_platform
from tests.uploads.framework import Application, Company, Person, fresh
from tests.uploads.records import BOTH, ONE, TWO, is_clean, width

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = on_one_platform


@BOTH
def test_rows_without_uploads_are_written_in_bulk(
    application: Application, model: Any, column: str
):
    people = [model(name=name) for name in ("Ann", "Bob")]
    model.bulk_create(people)
    people = list(model.select())
    for person in people:
        person.name += "a"
    # The fields include the mounted column, in which nothing has changed
    assert model.bulk_update(people, [model.name, column], batch_size=1) == 2
    assert model.bulk_update(people, [column]) == 0

    assert sorted(person.name for person in model.select()) == ["Anna", "Boba"]
    assert application.jobs() == []


@BOTH
def test_rows_with_uploads_are_written_one_by_one(
    application: Application, model: Any, column: str
):
    ann, bob = model(name="Ann", **{column: ONE}), model(name="Bob")
    model.bulk_create([ann, bob], batch_size=1)
    application.work()
    assert width(ann, column) == 80

    ann, bob = fresh(ann), fresh(bob)
    setattr(bob, column, TWO)
    ann.name, bob.name = "Anna", "Boba"
    assert model.bulk_update([ann, bob], ["name", column]) == 2
    application.work()

    assert (width(ann, column), width(bob, column)) == (80, 90)
    assert sorted(person.name for person in model.select()) == ["Anna", "Boba"]
    assert is_clean(application, *(getattr(person, column) for person in model.select()))

    # And an upload in a column that is not among the fields stays assigned
    ann = fresh(ann)
    setattr(ann, column, TWO)
    assert model.bulk_update([ann], ["name"]) == 1
    assert getattr(ann, column).assigned is not None
    assert width(ann, column) == 80


@BOTH
def test_many_uploads_are_one_transaction(application: Application, model: Any, column: str):
    people = [model(id=n, name="x", **{column: ONE}) for n in (1, 2, 1)]
    with pytest.raises(Exception, match=r"(?i)unique"):
        model.bulk_create(people)

    assert model.select().count() == 0
    assert application.jobs() == application.stored == []


@BOTH
@pytest.mark.parametrize("what", ["path", "bytes", "stored"])
def test_queries_cannot_write_files(
    application: Application, tmp_path: Path, model: Any, column: str, what: str
):
    path = tmp_path / "me.gif"
    path.write_bytes(ONE)
    ann = model.create(name="Ann", **{column: ONE})
    application.work()
    file = {"path": path, "bytes": ONE, "stored": getattr(fresh(ann), column).stored}[what]
    field = getattr(model, column)

    queries = [
        lambda: model.insert(name="Bob", **{column: file}),
        lambda: model.insert({model.name: "Bob", field: file}),
        lambda: model.insert_many([{"name": "Bob"}, {"name": "Bob", column: file}]),
        lambda: model.insert_many([("Bob", file)], fields=[model.name, field]),
        lambda: model.replace(name="Bob", **{column: file}),
        lambda: model.insert_from(model.select(model.name, field), [model.name, column]),
    ]
    queries += [
        lambda: model.update(**{column: file}),
        lambda: model.update({field: getattr(fresh(ann), column)}),
        lambda: model.set_by_id(ann.id, {column: file}),
        lambda: conflicting(model).on_conflict(update={column: file}),
        lambda: conflicting(model).on_conflict(conflict_target=[model.id], update={field: file}),
        lambda: model.insert_many([("Bob",)], [model.name]).on_conflict(update={field: file}),
    ]
    for query in queries:
        with pytest.raises(TypeError, match=rf"{model.__name__}\.{column} cannot be .* save\(\)"):
            query().execute()
    assert model.select().count() == 1


def conflicting(model: Any) -> Any:
    return model.insert({model.id: 1, model.name: "Bob"})


@BOTH
@pytest.mark.parametrize("what", ["column", "subquery", "empty subquery", "function", "SQL"])
def test_queries_cannot_copy_files_by_an_expression(
    application: Application, model: Any, column: str, what: str
):
    model.create(name="Ann", **{column: ONE})
    application.work()
    bob, field = model.create(name="Bob"), getattr(model, column)
    files = model.select(field).where(model.name == "Ann")
    value = {
        "column": getattr(model.alias(), column),
        "subquery": files,
        # What selects nothing now may select a file when the query runs
        "empty subquery": model.select(field).where(model.name == "Cid"),
        "function": peewee.fn.COALESCE(field, files),
        "SQL": peewee.SQL("avatar"),
    }[what]

    queries = [
        lambda: model.insert(name="Cid", **{column: value}),
        lambda: model.insert_many([{"name": "Cid", field: value}]),
        lambda: model.replace_many([("Cid", value)], fields=[model.name, field]),
        lambda: model.update({field: value}).where(model.id == bob.id),
        lambda: model.set_by_id(bob.id, {column: value}),
        lambda: conflicting(model).on_conflict(conflict_target=[model.id], update={field: value}),
        lambda: model.insert(model.select()),
        lambda: model.insert_from(model.select(), []),
    ]
    for query in queries:
        with pytest.raises(TypeError, match=rf"{model.__name__}\.{column} cannot be written"):
            query().execute()
    assert [width(one, column) for one in model.select().order_by(model.id)] == [80, None]


def test_queries_cannot_write_a_file_that_waits(application: Application):
    ann, bob = Person.create(name="Ann", avatar=ONE), Person.create(name="Bob")
    waiting = fresh(ann).avatar_tmp

    for query in (
        lambda: Person.update(avatar_tmp=waiting).where(Person.id == bob.id),
        lambda: conflicting(Person).on_conflict(
            conflict_target=[Person.id], update={Person.avatar_tmp: waiting}
        ),
    ):
        with pytest.raises(TypeError, match=r"Person\.avatar cannot be written by a query"):
            query().execute()
    assert fresh(bob).avatar_tmp is None


@BOTH
def test_queries_without_files_work_as_in_peewee(application: Application, model: Any, column: str):
    model.insert(name="Ann", **{column: None}).execute()
    model.insert_many([{"name": "Bob"}, {"name": "Cid", column: None}]).execute()
    model.insert_many([("Dan",)], fields=[model.name]).execute()
    if model is Company:  # Person has a required column, which this query does not fill.
        model.insert_from(model.select(model.name).where(model.name == "Dan"), ["name"]).execute()
    model.get_or_create(name="Eve", defaults={column: ONE})
    application.work()
    for row in ({"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}):
        query = model.insert(row)
        changes = {"preserve": [model.name], "update": {column: None}}
        query.on_conflict(conflict_target=[model.id], **changes).execute()

    names = {one.name for one in model.select()}
    assert names == {"Ann", "Bob", "Cid", "Dan", "Eve"}
    assert width(model.get(name="Eve"), column) == 80


def test_a_query_cannot_copy_a_cached_file(application: Application):
    Person.create(name="Ann", avatar=ONE)

    with pytest.raises(TypeError, match=r"Person\.avatar cannot be written by a query"):
        Person.insert_many(Person.select(Person.name, Person.avatar_tmp).dicts()).execute()


@BOTH
def test_the_sql_of_a_query_can_be_read_before_it_runs(
    application: Application, model: Any, column: str
):
    model.insert([{"name": "Ann"}, {"name": "Bob", column: None}]).execute()
    many = [
        model.insert_many([{"name": "Cid"}]),
        model.insert_many([("Dan",)], fields=[model.name]),
    ]
    for query in many:
        query.sql()
        query.execute()
    assert sorted(one.name for one in model.select()) == ["Ann", "Bob", "Cid", "Dan"]

    with pytest.raises(TypeError, match=r"cannot be written by a query"):
        model.insert([{"name": "Eve", column: ONE}])
