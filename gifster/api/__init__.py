"""The web: a Falcon ASGI application, thin over `app/library.py` and `app/accounts.py`.

`app` puts it together. A request comes through `adapter` and `middleware` to its resource (`gifs`,
`accounts`, `jobs`, `pages`, `files`, `health`). `requests` and `schemas` have the shapes of what
goes in and out; uploads come in through `receive`, live pages go out through `live`, and every
error leaves through `problems`.
"""
