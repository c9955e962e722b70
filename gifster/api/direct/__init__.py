"""Uploads in several requests: `/api/uploads` speaks tus 1.0. So an upload goes on after a lost
connection, with any web process.

`resumable.py` has the resources, `bodies.py` receives what they are sent. The rest of the protocol
is the library's, `gifster/uploads/resumable/`.
"""
