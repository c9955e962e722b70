"""Lets Falcon build the router of an application a third as long.

The tests make the application hundreds of times, always with the same 200 routes. Its router asks
of each two of them whether they conflict, which takes regular expressions, and compiles a function
of 1,000 lines. Here each question and each function is answered once a process.
"""

import functools
from typing import Any

import falcon.inspect
from falcon.routing import compiled
from falcon.routing.compiled import CompiledRouterNode

_conflicts_with = CompiledRouterNode.conflicts_with


@functools.cache
def _conflict(one: str, other: str) -> bool:
    return _conflicts_with(CompiledRouterNode(one), other)


def _not_looked_up(_: Any, default: str | None = "?") -> str | None:
    """In place of the file and line of a responder. Falcon parses whole files to find them, and no
    test reads them."""
    return default


CompiledRouterNode.conflicts_with = lambda self, other: _conflict(self.raw_segment, other)
compiled.compile = functools.cache(compile)  # in place of the built-in one
falcon.inspect._get_source_info = _not_looked_up
