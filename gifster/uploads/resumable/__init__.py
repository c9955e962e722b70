"""Uploads that go on after a lost connection, in any web process: tus 1.0 without a web server.

An unfinished upload is a row (`table.py`, `rows.py`), and its content so far is some files in the
cache, its parts (`receiving.py`). A request writes its bytes into a new part, makes that durable,
and then moves the row's offset by a compare-and-swap, as promotion does. So the offset never counts
a byte that a crash could lose, two requests at once cannot mix their bytes, and there is no lock
that a dead process could hold. The offset is the length only once the application has taken the
file.

`protocol.py` reads and writes the headers (https://tus.io/protocols/resumable-upload). What an
application mounts is `endpoints.tus()`.
"""
