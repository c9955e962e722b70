"""State that belongs to an outbox, not to the process.

`Job` is bound to one database at a time, but a process may bind it to another one: a test does, and
so does a program that looks after two applications. What was seen of one outbox must not be taken
for the other's.
"""

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import peewee

from gifster.jobs.job import outbox_database

T = TypeVar("T")


class PerOutbox(Generic[T]):
    """A value for each outbox.

    Parameters:
      make: makes the first value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[peewee.Database, T] = WeakKeyDictionary()

    @property
    def here(self) -> T:
        """The value for the database that `Job` is bound to now.

        Raises:
          NotBound: `Job` is bound to no database.
        """
        database = outbox_database()
        if database not in self._values:
            self._values[database] = self._make()
        return self._values[database]
