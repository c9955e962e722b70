"""Queries whose SQL is made once (`gifster.jobs.statements`)."""

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from gifster.jobs.statements import Statement, database_values, for_each_length
from tests import databases


class Shout(peewee.TextField):
    """A text that is in capitals in the database."""

    def db_value(self, value: str | None) -> str | None:
        return None if value is None else value.upper()

    def python_value(self, value: str | None) -> str | None:
        return None if value is None else f"{value}!"


class Word(peewee.Model):
    text = Shout(column_name="spelling")
    length = peewee.IntegerField(default=0)
    note = peewee.TextField(null=True)
    is_rare = peewee.BooleanField(default=False)
    root: Any = peewee.ForeignKeyField("self", null=True)


@pytest.fixture
def database(database_url: str) -> Iterator[Any]:
    database = databases.connect(database_url)
    with database.bind_ctx([Word]), database.connection_context():
        database.create_tables([Word])
        yield database
    database.close_all()


def test_a_statement_gets_other_values_each_time(database: Any):
    insert = Statement.inserting(Word)
    for text in ("cat", "horse"):
        insert.execute(**database_values(Word(id=len(text), text=text, length=len(text))))
    longer = Statement(lambda least: Word.select(Word.text).where(Word.length >= least))

    assert sorted(longer.rows(least=1)) == [("CAT",), ("HORSE",)]
    assert longer.row(least=4) == ("HORSE",)
    assert longer.row(least=9) is None


def test_peewee_converts_no_value_of_a_statement(database: Any):
    Word.create(text="cat")
    named = Statement(lambda text: Word.select(Word.id).where(Word.text == text))

    assert named.rows(text="cat") == []
    assert len(named.rows(text="CAT")) == 1


def test_the_sql_is_made_once_for_a_database(database: Any, tmp_path: Any):
    made = []

    def query(least: Any) -> Any:
        made.append(least)
        return Word.select(Word.id).where(Word.length >= least)

    statement = Statement(query)
    statement.rows(least=1)
    statement.rows(least=2)
    assert len(made) == 1

    other = databases.connect(f"sqlite:///{tmp_path}/other.db")
    with other.bind_ctx([Word]), other.connection_context():
        other.create_tables([Word])
        Word.create(text="ox", length=2)
        assert len(statement.rows(least=2)) == 1
    assert len(made) == 2
    assert statement.rows(least=2) == []


def test_a_null_is_a_value(database: Any):
    Statement.inserting(Word).execute(**database_values(Word(id=7, text="cat")))

    assert Word.get_by_id(7).note is None


def test_the_rows_of_a_statement_as_records(database: Any):
    # Given two words, of which one refers to the other
    cat = Word.create(text="cat", length=3)
    Word.create(text="catty", length=5, note="rude", is_rare=True, root=cat)

    # When they are read by a statement
    query = Word.select().order_by(Word.id)
    found = Statement(lambda: query).records()

    # Then they are what Peewee reads, and nothing in them is to be saved
    assert [word.__data__ for word in found] == [word.__data__ for word in query]
    assert (found[1].text, found[1].root.text, found[1].is_rare) == ("CATTY!", "CAT!", True)
    assert not found[1].is_dirty()
    assert found[0].root is None


def test_a_query_for_some_values(database: Any):
    for text in ("cat", "horse", "ox"):
        Word.create(text=text, length=len(text))
    named = for_each_length(lambda ids: Word.select(Word.length).where(Word.text.in_(ids)))

    assert named([]) == []
    assert named(["CAT"]) == [(3,)]
    assert sorted(named(["CAT", "OX"])) == [(2,), (3,)]
    assert sorted(named(["OX", "HORSE"])) == [(2,), (5,)]


def test_a_statement_follows_a_model_to_another_table(database: Any):
    insert = Statement.inserting(Word)
    insert.execute(**database_values(Word(id=1, text="cat")))
    Word._meta.set_table_name("other_word")
    try:
        database.create_tables([Word])
        insert.execute(**database_values(Word(id=2, text="horse")))

        assert [word.id for word in Word.select()] == [2]
    finally:
        Word._meta.set_table_name("word")
