"""`make chaos`: real processes and a stream of uploads, while everything is made to go wrong.

Each scenario (`scenarios.py`) starts its own Gifster (`site.py`), and sends it uploads,
replacements, deletions and sign-ups (`stream.py`). Meanwhile it kills or starves some components.
It waits until all work is done, and then counts (`verdict.py`): accepted uploads that are neither
stored nor visibly failed, things that were done twice, and files that were left behind. Each
scenario stops by itself. The seed decides what happens when.

`crashes.py` needs no running Gifster: it lets a process die at each point of each operation on
uploads, and counts what is left.
"""
