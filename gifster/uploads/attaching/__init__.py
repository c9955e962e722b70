"""Attaching: every change to the files of a record, from an assignment to the end of its
transaction.

The `attacher` says what happens to a column, `single_attacher` and `list_attacher` how.
`saving` takes each `incoming` upload through a `save()`, as one of the `changes`; `storing` stores
its files. `outcome` learns how the transaction ends, and `deleting` has the files of deleted rows
deleted.
"""
