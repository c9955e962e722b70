"""`python -m gifster.jobs`: see `command.py`."""

import sys

from gifster.jobs.command import main

if __name__ == "__main__":
    sys.exit(main())
