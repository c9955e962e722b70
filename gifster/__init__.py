"""Gifster: a self-hosted GIF library, and the three libraries that it is built on.

`gifster.uploads` (attachments for Peewee), `gifster.imaging` (pictures) and `gifster.jobs`
(Dramatiq and an outbox) stand alone. `gifster.app` is the application; `api`, `actors`, `cli` and
`scheduler` are the ways into it. Start reading at `app/library.py`.
"""

#: The version of all of it, and the only place that says so.
__version__ = "0.2.0"
