"""`python -m gifster`: the same as the `gifster` command."""

from gifster.cli import main

main()
