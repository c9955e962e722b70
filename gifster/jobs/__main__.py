"""`python -m gifster.jobs`: see `command.py`."""

import sys

from gifster.jobs.command import main

sys.exit(main())
