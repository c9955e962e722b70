"""Moderation: what people may do by their role (`roles`), what moderators do with the GIFs of
others (`hiding`), what readers tell them (`reports`), and the log of all of it (`log`).

`log` and `roles` are used by what changes GIFs and accounts, `hiding` and `reports` use that. So
nothing is imported here: import the modules.
"""
