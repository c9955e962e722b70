"""`make chaos`: real processes, a stream of uploads, and everything that can go wrong on purpose.

Each scenario (`scenarios.py`) starts a Gifster of its own (`site.py`), sends it uploads,
replacements, deletions and sign-ups (`stream.py`), kills or starves what the scenario is about,
waits until all work is done, and then counts (`verdict.py`): what was accepted and is neither
stored nor visibly failed, what was done twice, what was left behind. Bounded in time; the seed
decides what comes when.
"""
