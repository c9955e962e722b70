"""Mounted columns: a `column` with the `fields` beside it and their `states`, the `record` as it is
in memory, its `rows` in the database, the `attached_file` that it shows, and the queries that pass
`save()` by (`bulk`).
"""
