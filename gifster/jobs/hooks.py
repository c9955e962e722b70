"""Dramatiq's middleware, asked only where it has something to say.

A message has about ten moments at which Dramatiq asks every middleware, and a worker has some
fifteen of them, most of which do nothing at most moments. For a short job that is a third of the
work of its thread.
"""

import logging
from typing import Any

from dramatiq.middleware import Middleware, MiddlewareError

logger = logging.getLogger("gifster.jobs")


class QuickHooks:
    """Mixed in before a broker of Dramatiq's: its `emit_before` and `emit_after`, without the calls
    of hooks that nobody wrote."""

    middleware: list[Any]
    _hooked: list[Any] | None = None
    _hooks: dict[str, list[Any]]

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the middleware's `before_` hooks, in its order; of what they raise only a
        `MiddlewareError` gets out."""
        for hook in self._hooks_named(f"before_{signal}"):
            try:
                hook(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:
                logger.critical("unexpected failure in %r", hook, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the middleware's `after_` hooks, in reverse order; nothing they raise gets out."""
        for hook in reversed(self._hooks_named(f"after_{signal}")):
            try:
                hook(self, *args, **kwargs)
            except Exception:
                logger.critical("unexpected failure in %r", hook, exc_info=True)

    def _hooks_named(self, name: str) -> list[Any]:
        if self._hooked != self.middleware:  # the same objects, so this is quick
            self._hooks, self._hooked = {}, list(self.middleware)
        hooks = self._hooks.get(name)
        if hooks is None:
            nothing = getattr(Middleware, name, None)
            every = [getattr(middleware, name) for middleware in self.middleware]
            hooks = self._hooks[name] = [
                hook for hook in every if getattr(hook, "__func__", hook) is not nothing
            ]
        return hooks
