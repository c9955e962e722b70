"""Former public names: they still work for one release, with a warning."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def aliases(module: str, new_names: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module that has renamed some of its public names.

    Parameters:
      module: the name of the module.
      new_names: the full new name for each former name, for example
        `{"Looks": "gifster.imaging.Fingerprint"}`.
    """

    def __getattr__(name: str) -> Any:
        if name not in new_names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new_name = new_names[name]
        warnings.warn(f"{module}.{name} is now {new_name}", DeprecationWarning, stacklevel=2)
        new_module, _, attribute = new_name.rpartition(".")
        return getattr(importlib.import_module(new_module), attribute)

    return __getattr__
