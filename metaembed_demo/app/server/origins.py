"""Which site a request comes from, and what of its headers is not believed.

A page of another site can make a visitor's browser send requests here, with the visitor's cookies. Browsers
tell so by `Sec-Fetch-Site` (over TLS and on localhost) and by `Origin`, which no script can forge.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.types import Scope

from .refusals import Refused

HOST = re.compile(rb"(?:[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
# Gradio builds addresses from these, so that whoever sends them decides where a page's links lead.
NOT_BELIEVED = (b"x-forwarded-host", b"x-gradio-server", b"forwarded")
OURS = (b"same-origin", b"none")  # none: typed, or a bookmark
ELSEWHERE = "This was sent by a page of another site, which is not taken here."
LOGOUT = "/logout"


def check_host(headers: dict[bytes, bytes]) -> None:
    """Raises Refused when `Host` is no host."""
    if b"host" in headers and not HOST.fullmatch(headers[b"host"]):
        raise Refused(400, "The header Host names no host.")


def check_origin(scope: Scope, headers: dict[bytes, bytes], reading: bool) -> None:
    """Raises Refused for what another site's page sends. Its links to pages are taken, except to /logout."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if origin is not None and site not in OURS and not _is_here(origin, headers):
        raise Refused(403, ELSEWHERE)
    leaves = scope["path"].rstrip("/") == LOGOUT
    if site is not None and site not in OURS and (leaves or not reading):
        raise Refused(403, ELSEWHERE)
    referrer = headers.get(b"referer")
    if leaves and site is None and referrer is not None and not _is_here(referrer, headers):
        raise Refused(403, ELSEWHERE)


def _is_here(address: bytes, headers: dict[bytes, bytes]) -> bool:
    """Whether an address has the host of this request. Schemes are not compared: a proxy ends TLS."""
    try:
        named = urlsplit(address.decode("latin-1"))
    except ValueError:
        return False
    usual = {"http": ":80", "https": ":443"}.get(named.scheme, "")
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return bool(named.netloc) and named.netloc.lower().removesuffix(usual) == host.removesuffix(usual)


def place(scope: Scope) -> bytes:
    """The origin that was asked, as `Host` and X-Forwarded-Proto tell."""
    headers = dict(scope["headers"])
    told = headers.get(b"x-forwarded-proto", b"").split(b",")[0].strip()
    scheme = told if told in (b"http", b"https") else scope["scheme"].encode()
    host, port = scope.get("server") or ("localhost", None)
    here: bytes = headers.get(b"host") or (f"{host}:{port}" if port else str(host)).encode()
    return bytes(scheme) + b"://" + here


def without_claims(scope: Scope, headers: dict[bytes, bytes]) -> Scope:
    """Remove what a client claims, and the cookies of another site's requests that are no visit.

    Gradio's login cookie is SameSite=None so that it works in frames, but a framed page's requests are
    same-site.
    """
    dropped: tuple[bytes, ...] = NOT_BELIEVED
    if headers.get(b"sec-fetch-site") == b"cross-site" and headers.get(b"sec-fetch-mode") != b"navigate":
        dropped = (*NOT_BELIEVED, b"cookie")
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in dropped]}
