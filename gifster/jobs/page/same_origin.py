"""Whether a form was sent by the page itself, and not by a page of another site with the cookie or
password of a person's browser (CSRF).

The check of Go's `http.CrossOriginProtection`, and of Sidekiq since 8.1. It needs neither a token
nor a session of the application that mounts the page. Browsers say where a request comes from: by
`Sec-Fetch-Site` over https and on localhost, by `Origin` everywhere. Programs say nothing, and no
page can make a program send anything.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"http": ":80", "https": ":443"}


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from a page of this site, or from no page.

    The hosts of `Host` and `X-Forwarded-Host` are ours, because a proxy may replace the first by
    its own. A page of another site can set neither, and the scheme is left out, because a proxy may
    speak https where the server does not.

    Parameters:
      headers: of the request, by their names in lower case.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parsed = urlsplit(origin.lower())
    except ValueError:
        return False
    if not parsed.netloc:  # "null", as from a sandboxed frame
        return False
    port = _PORTS.get(parsed.scheme, "")
    said = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")]
    return parsed.netloc.removesuffix(port) in {
        host.strip().lower().removesuffix(port) for host in said if host.strip()
    }
