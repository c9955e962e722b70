"""Calls only those hooks of Dramatiq's middleware that somebody wrote.

For each message Dramatiq calls about ten hooks of every middleware. A worker has about fifteen
middlewares, and most of them do nothing in most hooks. For a short job these calls are a third of
the work.
"""

import logging
from collections.abc import Callable
from typing import Any

from dramatiq.middleware import Middleware, MiddlewareError

logger = logging.getLogger("gifster.jobs")


class QuickHooks:
    """Mixed in before one of Dramatiq's brokers: `emit_before` and `emit_after`, without the calls
    of empty hooks."""

    middleware: list[Middleware]
    _hooked: list[Middleware] | None = None
    _hooks: dict[str, list[Callable[..., None]]]

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the `before_` hooks in the order of the middleware. Only a `MiddlewareError` gets
        out; other errors are logged."""
        for hook in self._hooks_named(f"before_{signal}"):
            try:
                hook(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:
                logger.critical("unexpected failure in %r", hook, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the `after_` hooks in reverse order. Their errors are logged."""
        for hook in reversed(self._hooks_named(f"after_{signal}")):
            try:
                hook(self, *args, **kwargs)
            except Exception:
                logger.critical("unexpected failure in %r", hook, exc_info=True)

    def hooks_but(self, kind: type[Middleware], *names: str) -> list[Callable[..., None]]:
        """The hooks with these names that somebody wrote, but not those of one kind."""
        hooks = [hook for name in names for hook in self._hooks_named(name)]
        return [hook for hook in hooks if not isinstance(getattr(hook, "__self__", None), kind)]

    def _hooks_named(self, name: str) -> list[Callable[..., None]]:
        if self._hooked != self.middleware:  # quick, because these are the same objects
            self._hooks, self._hooked = {}, list(self.middleware)
        hooks = self._hooks.get(name)
        if hooks is None:
            nothing = getattr(Middleware, name, None)
            every = [getattr(middleware, name) for middleware in self.middleware]
            hooks = self._hooks[name] = [
                hook for hook in every if getattr(hook, "__func__", hook) is not nothing
            ]
        return hooks
