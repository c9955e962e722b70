"""`python -m gifster.uploads install`: writes the files that a Peewee application needs to adopt
`gifster.uploads`.

These are a block of settings, a migration for the columns and the outbox, and the workers' module.
Existing content stays as it is, and a second run changes nothing. `gifster install` does the same.
"""

import importlib
import json
import keyword
import re
import secrets
import stat
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peewee

from gifster.uploads.attributes import kinds_of
from gifster.uploads.columns.column import UploadColumn
from gifster.uploads.storage.local_writer import LocalWriter

SETTINGS = """
[attachments]                   # gifster.uploads; read by actors.py
broker = "redis://127.0.0.1:6379/0"
queue = "carrierwave"
cache = "var/cache"             # where uploads wait for a worker
store = "var/store"             # where they stay
base_url = "/files"             # where your web server shows the store
secret = "{secret}"  # signs what forms hand back
"""

MIGRATION = '''"""The columns of {table}.{column} for gifster.uploads, and the outbox.

Run by playhouse.migrations:

    python -m playhouse.migrations --help
"""

from peewee import {fields}

from gifster import jobs

COLUMNS = {{
{columns}
}}


def up(migrator, db):
    jobs.migrate(db)  # the tables of the jobs: only what is missing
    for name, field in COLUMNS.items():
        migrator.migrate(migrator.add_column({quoted}, name, field))


def down(migrator, db):
    for index in db.get_indexes({quoted}):  # SQLite drops no column that has one
        if set(index.columns) <= set(COLUMNS):
            migrator.migrate(migrator.drop_index({quoted}, index.name))
    for name in COLUMNS:
        migrator.migrate(migrator.drop_column({quoted}, name))
'''

ACTORS = '''"""Background work on uploads. Import this module where your application starts, too:
it sets the broker and the storages for both.

    python -m gifster.jobs run actors

runs workers, the relay, and the sweep of uploads every hour.
"""

import tomllib
from pathlib import Path

from gifster import jobs, uploads

settings = tomllib.loads(Path("settings.toml").read_text("utf-8"))["attachments"]
jobs.connect(settings["broker"])
uploads.configure(
    {{
        "cache": uploads.LocalStorage(settings["cache"]),
        "store": uploads.LocalStorage(settings["store"], settings["base_url"]),
    }},
    queue=settings["queue"],
    secret=settings.get("secret", ""),
)

import {module}  # noqa: E402 the models whose uploads are worked on
import gifster.uploads.actors  # noqa: E402, F401 declares the actors, on the broker above

for table in jobs.TABLES:  # the outbox and its companions are beside theirs
    table.bind({module}.{model}._meta.database)
'''

MODEL = """
Then say on the model what the columns are:

    from gifster import uploads

    class {camel}Uploader(uploads.Backgrounder, uploads.Uploader):
        @uploads.version
        def thumb(self, image: uploads.Image) -> uploads.Image:
            return image.fit(220, 220)

    @uploads.{decorator}("{column}")
    class {model}(uploads.HasUploads, ...):
        {column} = uploads.{mount}({camel}Uploader)
{fields}
        # These are there in any case; declared, type checkers know them, too:
{attributes}

and run the migration with playhouse.migrations (DATABASE is a URL, or such as myapp.models.db),
then the jobs:

    python -m playhouse.migrations DATABASE up
    python -m gifster.jobs run actors

After an upgrade of Gifster, bring the tables of the jobs up to date with

    python -m gifster.jobs migrate actors
"""


class CannotInstall(Exception):
    """The command cannot do what it was asked to; says why."""


@dataclass(frozen=True)
class Wish:
    """The column to add uploads to.

    Parameters:
      model: as `module:Model`.
      column: its name.
      many: whether it has several files.
      process: whether the upload is stored at once, and only its versions are left to a worker.
      state: whether pages can tell how far an upload is, and why it failed (`<column>_state` and
        `<column>_error`).
    """

    model: str
    column: str
    many: bool = False
    process: bool = False
    state: bool = True

    def columns(self) -> dict[str, str]:
        """The new columns of the table, and the fields that make them."""
        made = {self.column: "TextField(null=True)"}
        if not self.process:
            made[f"{self.column}_tmp"] = "TextField(null=True)"
        made[f"{self.column}_processing"] = "BooleanField(default=False)"
        if self.state:
            made[f"{self.column}_state"] = "CharField(max_length=16, null=True, index=True)"
            made[f"{self.column}_error"] = "TextField(null=True)"
        return made

    def companions(self) -> dict[str, str]:
        """The fields that the model declares beside the mounted column, and their classes."""
        column, named = self.column, {}
        if not self.process:
            named[f"{column}_tmp"] = "CacheListField" if self.many else "CacheField"
        named[f"{column}_processing"] = "ProcessingField"
        if self.state:
            named |= {f"{column}_state": "StateField", f"{column}_error": "ErrorField"}
        return named


def install(wish: Wish, folder: Path, may_overwrite: Callable[[Path], bool]) -> list[str]:
    """Write the files.

    Parameters:
      folder: the application's, from which its modules are imported.
      may_overwrite: asks whether to replace a file that has other content.

    Returns:
      a line for each file, and the steps that are left to do by hand.

    Raises:
      CannotInstall: the model cannot be imported, is not a Peewee model or has a schema of its own,
        or the column's name is not an identifier, or it or that of a companion is taken.
    """
    module, _, name = wish.model.partition(":")
    model = _model(folder, module, name)
    if not wish.column.isidentifier() or keyword.iskeyword(wish.column):
        raise CannotInstall(
            f"{wish.column!r} is not a name for a column: use letters, digits and underscores, "
            "and no word of Python's own"
        )
    field = model._meta.fields.get(wish.column)
    if field is not None and not isinstance(field, UploadColumn):
        raise CannotInstall(
            f"{name}.{wish.column} is a {type(field).__name__} already: use another name, or "
            "rename this field and its column first"
        )
    taken = [each for each in (wish.column, *wish.companions()) if hasattr(model, each)]
    if field is None and taken:
        raise CannotInstall(f"{name}.{taken[0]} is something else already: use another name")
    for column in wish.columns():
        other = model._meta.columns.get(column)
        if field is None and other is not None:
            raise CannotInstall(
                f"the table of {name} has the column {column!r} already, of {name}.{other.name}: "
                "use another name, or rename the column first"
            )
    if model._meta.schema:
        raise CannotInstall(
            f"{name} is in the schema {model._meta.schema!r}, for which playhouse.migrations "
            "cannot add a column: write the migration by hand"
        )
    table = model._meta.table_name
    return [
        _settings(folder / "settings.toml"),
        _migration(folder / "migrations", table, wish),
        _actors(folder / "actors.py", module, name, may_overwrite),
        _advice(wish, name),
    ]


def _model(folder: Path, module: str, name: str) -> type[peewee.Model]:
    sys.path.insert(0, str(folder))
    try:
        model = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotInstall(
            f"no model {module}:{name} here ({error}); name it as package.module:Model"
        ) from None
    finally:
        sys.path.remove(str(folder))
    if not (isinstance(model, type) and issubclass(model, peewee.Model)):
        raise CannotInstall(f"{module}:{name} is not a Peewee model")
    return model


def _settings(path: Path) -> str:
    text = path.read_text("utf-8") if path.exists() else ""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotInstall(f"{path.name} is not valid TOML: {error}") from None
    if "attachments" in document:
        return f"unchanged  {path.name}"
    block = SETTINGS.format(secret=secrets.token_urlsafe(24))
    _write(path, text + block.lstrip("\n" if not text else ""))
    return f"{'extended' if text else 'created'}   {path.name}"


def _migration(folder: Path, table: str, wish: Wish) -> str:
    plain = f"add_{wish.column}_to_{table}"  # as an earlier release called it
    title = re.sub(r"\W+", "_", plain)
    for path in sorted(folder.glob("[0-9]*.py")):
        if path.stem.endswith((f"_{title}", f"_{plain}")):
            return f"unchanged  {folder.name}/{path.name}"
    taken = [int(found[0]) for p in folder.glob("[0-9]*.py") if (found := re.match(r"\d+", p.name))]
    path = folder / f"{max(taken, default=0) + 1:04}_{title}.py"
    columns = "\n".join(f'    "{name}": {field},' for name, field in wish.columns().items())
    folder.mkdir(exist_ok=True)
    fields = "BooleanField, CharField, TextField" if wish.state else "BooleanField, TextField"
    text = MIGRATION.format(
        table=table,
        quoted=json.dumps(table, ensure_ascii=False),
        column=wish.column,
        columns=columns,
        fields=fields,
    )
    _write(path, text)
    return f"created    {folder.name}/{path.name}"


def _actors(path: Path, module: str, model: str, may_overwrite: Callable[[Path], bool]) -> str:
    wanted = ACTORS.format(module=module, model=model)
    present = path.read_text("utf-8") if path.exists() else None
    if present == wanted or (
        present is not None and f"import {module}" in present and "uploads.actors" in present
    ):
        return f"unchanged  {path.name}"
    if present is not None and not may_overwrite(path):
        return (
            f"kept       {path.name}, which has other content: import {module} and "
            "gifster.uploads.actors there"
        )
    _write(path, wanted)
    return f"{'created ' if present is None else 'replaced'}   {path.name}"


def _write(path: Path, text: str) -> None:
    """Replace a file in one step, so that a power cut leaves no half of a file. Keep its mode."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    with LocalWriter(path, permissions=mode) as writer:
        writer.write(text.encode())


def _advice(wish: Wish, model: str) -> str:
    column = wish.column
    attributes = {kind.called(column): kind.__name__ for kind in kinds_of(wish.many)}
    return MODEL.format(
        camel="".join(part.capitalize() for part in column.split("_")),
        decorator="process_in_background" if wish.process else "store_in_background",
        column=column,
        model=model,
        mount="mount_uploaders" if wish.many else "mount_uploader",
        fields=_lines(wish.companions()),
        attributes=_lines(attributes),
    )


def _lines(declared: dict[str, str]) -> str:
    return "\n".join(f"        {name} = uploads.{kind}()" for name, kind in declared.items())
