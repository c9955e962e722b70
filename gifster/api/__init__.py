"""The web: a Falcon ASGI application, thin over `library` and `accounts`.

`app` puts it together. A request meets `middleware`, then its resource (`gifs`, `users`, `pages`,
`media`, `health`); uploads come in through `receive`, live pages go out through `live`, and every
error leaves through `problems`.
"""
