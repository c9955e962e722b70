"""Measure, and write what was found into docs/performance.md: `make bench`.

`python -m bench` measures everything that the page has a section for, `python -m bench queues` one
section; what follows the name are options of that benchmark. To see figures without writing them,
run the benchmark by itself: `python -m bench.queues`.
"""

import importlib
import os
import platform
import sys
import time

from bench import page


def main() -> None:
    known = page.names()
    name, *options = sys.argv[1:] or [""]
    if name and name not in known:
        sys.exit(f"bench: {page.PAGE.name} has no section {name!r}; it has {', '.join(known)}")
    for each in [name] if name else known:
        print(f"measuring {each}", file=sys.stderr)
        before = os.getloadavg()[0]
        section = importlib.import_module(f"bench.{each}").measure(options)
        where = (
            f"Measured on {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores with Python "
            f"{platform.python_version()}; the load was {before:.1f} before, and "
            f"{os.getloadavg()[0]:.1f} at the end."
        )
        page.write(each, section._replace(text=f"{section.text.strip()}\n\n{where}"))


if __name__ == "__main__":
    main()
