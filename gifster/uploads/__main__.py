"""`python -m gifster.uploads`: see `command.py`."""

import sys

from gifster.uploads.command import main

sys.exit(main())
