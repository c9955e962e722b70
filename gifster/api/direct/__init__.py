"""Uploads in several requests: `/api/uploads` speaks tus 1.0. So an upload goes on after a lost
connection, with any web process. And uploads that clients write into a bucket themselves.

`resumable.py` has the resources of tus, and `bodies.py` receives what they are sent. The rest of
the protocol is the library's, `gifster/uploads/resumable/`. `presigned.py` is for the bucket.
"""
