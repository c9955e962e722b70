"""Backups: all rows and files of one moment, made while everything runs, and brought back.

`repository` is the folder that has them, `manifest` the list of files of one backup. `making` makes
a backup, of a `snapshot` of the database; `restoring` brings one back. `tables` copies rows between
databases of two kinds, also for `moving`.
"""


class BackupError(Exception):
    """A backup, a restore or a copy is not possible. The message says why, and what to do."""
