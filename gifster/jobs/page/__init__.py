"""The page of the jobs, as an application that yours mounts: `wsgi()` for Flask, Django and all
other WSGI servers, `asgi()` for FastAPI, Starlette and all other ASGI servers.

    app.mount("/admin/jobs", page.asgi(allow=lambda scope: scope["session"].get("admin") is True))

`wsgi.py` and `asgi.py` turn a request of the server into a `Request` (`messages.py`), which
`application.py` answers; it asks `allow` first, and `mounted.py` of the library where a form comes
from. `views.py` and the folder `templates` are what people see and do; Gifster shows the same ones
within its own layout. All of it stands on `gifster.jobs.admin`. Needs
`pip install 'gifster[jobs-page]'`.
"""

from gifster.jobs.page.access import Access
from gifster.jobs.page.asgi import asgi
from gifster.jobs.page.wsgi import wsgi

__all__ = ["Access", "asgi", "wsgi"]
