"""`python -m gifster.uploads`: see `command.py`."""

import sys

from gifster.uploads.command import main

if __name__ == "__main__":
    sys.exit(main())
