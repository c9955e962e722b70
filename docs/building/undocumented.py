"""Finds public names that the reference leaves out, because they have no docstring or comment.

An attribute may also be described in the docstring of its class. A method that keeps a contract,
such as `open()` of a storage, needs no docstring beside the contract's.
"""

import re
from collections.abc import Iterator

import griffe

from docs.building import reference
from gifster import imaging, jobs, uploads

#: Every model and field has these; they are Peewee's.
_OF_PEEWEE = {"Meta", "db_value", "python_value"}


def undocumented() -> list[str]:
    """The paths of the public names without a word about them."""
    extensions = griffe.load_extensions("griffe_sphinx")
    loader = griffe.GriffeLoader(extensions=extensions, search_paths=["."])
    loader.load("gifster")
    loader.resolve_aliases()
    shown = {one.path: one for path in _listed() for one in _with_members(loader, path)}
    contract = {one.name for one in shown.values() if one.docstring and one.is_function}
    return sorted(path for path, one in shown.items() if not _is_documented(one, contract))


def _listed() -> Iterator[str]:
    for module, headings in (
        (uploads, reference.UPLOADS),
        (jobs, reference.JOBS),
        (imaging, reference.IMAGING),
    ):
        for names in headings.values():
            yield from (reference.path_of(module, name) for name in names)
    for modules in reference.FURTHER.values():
        for module, names in modules.items():
            yield from (f"{module}.{name}" for name in names) if names else (module,)


def _with_members(loader: griffe.GriffeLoader, path: str) -> Iterator[griffe.Object]:
    """What a path means, with the public members of a class or module."""
    found = loader.modules_collection[path]
    one = found.final_target if found.is_alias else found
    if not one.is_module:
        yield one
    if one.is_class or one.is_module:
        inherited = path.rpartition(".")[2] in reference.OPTIONS
        for name, member in (one.all_members if inherited else one.members).items():
            if name.startswith(("_", "test_")) or name in _OF_PEEWEE:
                continue
            if one.is_module and (
                (member.is_alias and name not in (one.exports or ())) or member.is_module
            ):
                continue  # an import, or a module within
            yield from _with_members(loader, member.path)


def _is_documented(one: griffe.Object, contract: set[str]) -> bool:
    if one.docstring or (one.is_function and one.name in contract):
        return True
    parent = one.parent
    if parent is None or not parent.is_class:
        return False
    if f"{parent.parent.path}" in reference.OPTIONS:
        return one.name == "code"
    named = re.compile(rf"\b{re.escape(one.name)}\b")
    for place in (parent, *parent.mro()):
        if place.docstring and named.search(place.docstring.value):
            return True
        if one.name in place.members and place.members[one.name].docstring:
            return True
    return False
