"""Gifster: a self-hosted GIF library, its attachment framework and its work half.

`gifster.uploads` (attachments for Peewee) and `gifster.jobs` (Dramatiq and an outbox) stand alone;
everything else here is the application built on them. Start reading at `library.py`.
"""
