"""Rate limits per client address: requests per minute, and guesses of a secret.

Clocks are monotonic, so that setting the machine's clock has no effect. Only the MOST_CLIENTS most recent
addresses are remembered, which bounds memory to a few megabytes.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.types import Scope

CLIENT = "metaembed.client"  # key in a request's scope: its client's address, set by `access.Guard`
MOST_CLIENTS = 10_000  # remembered clients
SITE = 64  # prefix length of IPv6 networks that count as one client
FORGIVEN_S = 15 * 60  # wrong guesses are forgotten this long after the last one
FIRST_S, LONGEST_S = 60.0, 3600.0  # the first and the longest wait; doubles with each further wrong guess
Clock = Callable[[], float]
T = TypeVar("T")


class Recent(OrderedDict[Hashable, T], Generic[T]):
    """A mapping limited to the most recent clients."""

    def put(self, key: Hashable, value: T) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > MOST_CLIENTS:
            self.popitem(last=False)


class Requests:
    """A token bucket per client. It holds a minute's worth and refills evenly."""

    def __init__(self, per_minute: int, clock: Clock = time.monotonic) -> None:
        """per_minute: 0 means no limit."""
        self.most, self.clock = per_minute, clock
        self._lock = threading.Lock()
        self._left: Recent[tuple[float, float]] = Recent()  # tokens, and the time of that count

    def take(self, client: str) -> float:
        """Take a token for a request. Returns 0, or the seconds until one is available."""
        if self.most <= 0:
            return 0.0
        now, a_second = self.clock(), self.most / 60
        with self._lock:
            left, then = self._left.get(client, (float(self.most), now))
            left = min(float(self.most), left + (now - then) * a_second)
            waits = left < 1
            self._left.put(client, (left if waits else left - 1, now))
        return (1 - left) / a_second if waits else 0.0


@dataclass
class _Wrong:
    guesses: int
    last: float
    until: float  # when the next one is taken; both on the clock


class Guesses:
    """Wrong passwords and tokens per client. After `most` of them the client waits, with growing delays.

    A guess counts as wrong until it proves right, so that concurrent guesses gain nothing.
    """

    def __init__(self, most: int, clock: Clock = time.monotonic) -> None:
        """most: 0 means no limit."""
        self.most, self.clock = most, clock
        self._lock = threading.Lock()
        self._wrong: Recent[_Wrong] = Recent()

    def _wait(self, client: Hashable) -> float:
        known = self._wrong.get(client)
        return max(0.0, known.until - self.clock()) if known else 0.0

    def take(self, client: Hashable) -> float:
        """Count one more guess, as wrong until `forget` or `untake` is called, and return 0.

        If the client has to wait, nothing is counted and the remaining seconds are returned.
        """
        if self.most <= 0:
            return 0.0
        with self._lock:
            if wait := self._wait(client):
                return wait
            self._count(client)
        return 0.0

    def _count(self, client: Hashable) -> None:
        now, known = self.clock(), self._wrong.get(client)
        if known is None or now - max(known.last, known.until) > FORGIVEN_S:
            known = _Wrong(0, now, now)
        known.guesses, known.last = known.guesses + 1, now
        if known.guesses >= self.most:
            # The exponent is bounded against an overflow after very many guesses.
            known.until = now + min(LONGEST_S, FIRST_S * 2.0 ** min(30, known.guesses - self.most))
        self._wrong.put(client, known)

    def untake(self, client: Hashable) -> None:
        """Undo the last `take`: it was no guess."""
        with self._lock:
            known = self._wrong.get(client)
            if known is not None:
                known.guesses, known.until = max(0, known.guesses - 1), self.clock()

    def forget(self, client: Hashable) -> None:
        """Forget the wrong guesses after a right one."""
        with self._lock:
            self._wrong.pop(client, None)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Addresses:
    """Determines the client address of a request.

    proxies: the number of proxies in front of this server. Each appends its client's address to
        X-Forwarded-For; earlier entries come from the client and are not trusted.
    inner: whether private addresses belong to the host's infrastructure and never to clients, as on a Space.
    networks: addresses of further proxies whose header is believed.
    """

    proxies: int = 0
    inner: bool = False
    networks: tuple[Network, ...] = ()

    def of(self, scope: Scope) -> str:
        """The client's IPv4 address or IPv6 network, or the raw text if it is neither."""
        peer = str((scope.get("client") or ("",))[0])
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        hops = [hop.strip() for hop in b",".join(forwarded).decode("latin-1").split(",") if hop.strip()]
        hops.append(peer)
        at = max(0, len(hops) - 1 - max(0, self.proxies))
        while at and self._is_proxy(hops[at]):
            at -= 1
        return _site(hops[at])

    def shared(self, peer: str) -> bool:
        """Whether many clients may come from the address `peer`, because a proxy is there."""
        return self.proxies > 0 or self._is_proxy(peer)

    def _is_proxy(self, text: str) -> bool:
        found = _address(text)
        if found is None:
            return False
        inner = self.inner and self.proxies > 0 and not found.is_global
        return inner or any(found in network for network in self.networks)


def client_of(request: Any) -> str:
    """The client address of `request` (Starlette's, Gradio's or None); "" where no guard has set it."""
    request = getattr(request, "request", request)  # Gradio's wraps Starlette's
    scope = getattr(request, "scope", None) or {}
    return str(scope.get(CLIENT, ""))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address with or without a port.

    >>> _address("[2001:db8::1]:80"), _address("::ffff:10.0.0.1"), _address("10.0.0.1:80"), _address("me")
    (IPv6Address('2001:db8::1'), IPv4Address('10.0.0.1'), IPv4Address('10.0.0.1'), None)
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _site(text: str) -> str:
    """
    >>> _site("2001:db8:1:2:3:4:5:6"), _site("192.0.2.7:4711"), _site("unknown")
    ('2001:db8:1:2::', '192.0.2.7', 'unknown')
    """
    found = _address(text)
    if found is None:
        return text[:64]
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((int(found), SITE), strict=False).network_address)


def in_words(seconds: float) -> str:
    """
    >>> in_words(0.2), in_words(59), in_words(60.5)
    ('1 s', '59 s', '2 minutes')
    """
    return f"{max(1, math.ceil(seconds))} s" if seconds <= 60 else f"{math.ceil(seconds / 60)} minutes"
