"""Access to one Qdrant collection: connection, layout, and error messages."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import Any

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.extras import install
from metaembed_demo.index.cascade import scanned
from metaembed_demo.index.local import usual

MEMORY = ":memory:"
EDGE = "edge:"
FORMAT = 1
WORDS = "words"  # the sparse vector, and what the metadata says of it; see words.py
NO_WORDS: dict[str, Any] = {"version": 0, "average": 0.0}


def models() -> Any:
    """`qdrant_client.models`, imported lazily.

    Raises:
        ImportError: when it is not installed.
    """
    try:
        from qdrant_client import models as found
    except ImportError as error:
        raise ImportError(f"An index on Qdrant needs its client: {install('qdrant')}") from error
    return found


class Link:
    """Calls QdrantClient's methods on one collection: `link("count", exact=True)`.

    Calls to an in-process engine are serialised; calls to a server are concurrent.
    `simulated`: qdrant_client's local mode, pure Python without an index.
    """

    def __init__(self, client: Any, location: str, collection: str) -> None:
        self.location, self.collection = location, collection
        self._client = client
        self.simulated = not location.startswith((EDGE, "http"))
        remote = location.startswith("http")
        self._turn: Any = contextlib.nullcontext() if remote else threading.RLock()

    def __call__(self, method: str, **arguments: Any) -> Any:
        try:
            with self._turn:
                return getattr(self._client, method)(collection_name=self.collection, **arguments)
        except Exception as error:
            explained = explain(error, self.location)
            if explained is None:
                raise
            raise explained from error

    def close(self) -> None:
        with self._turn:
            self._client.close()


def connect(location: str, collection: str, api_key: str | None, grpc: bool, timeout_s: int) -> Link:
    """Open `location`: an address, ":memory:", "edge:<folder>" or a folder. A server is not called yet.

    Raises:
        ImportError: when a library is missing.
        ValueError: when `location` is an address without http:// or https://.
        RuntimeError: when another process has the folder open.
    """
    models()
    from qdrant_client import QdrantClient

    client: Any
    if location.startswith(EDGE):
        from .edge import EdgeClient

        client = EdgeClient(location.removeprefix(EDGE), collection)
    elif location == MEMORY:
        client = QdrantClient(MEMORY)
    elif location.startswith(("http://", "https://")):
        client = QdrantClient(
            url=location, api_key=api_key, prefer_grpc=grpc, timeout=timeout_s, check_compatibility=False
        )
    elif re.fullmatch(r"[\w.-]+:\d+", location):
        raise ValueError(f"{location} is no address: write http://{location} or https://{location}.")
    else:
        # Calls come from several threads, one at a time (Link).
        client = QdrantClient(path=location, force_disable_check_same_thread=True)
    return Link(client, location, collection)


def explain(error: Exception, location: str) -> Exception | None:
    """An exception with a better message than `error`, or None."""
    status, words = _status(error)
    if status is None:
        return None
    if status in ("unreachable", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return ConnectionError(
            f"Qdrant at {location} does not answer ({words}). Start it (docs/qdrant.md) or mend the address."
        )
    if status in ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        return PermissionError(f"Qdrant at {location} refuses the API key ({words}).")
    if status == "413":
        return RuntimeError(
            f"Qdrant at {location} refuses a request of that size. Raise service.max_request_size_mb there."
        )
    return RuntimeError(f"Qdrant at {location} answers {status}: {words}")


def _status(error: Exception) -> tuple[str | None, str]:
    """An HTTP status, a gRPC code or "unreachable", and its message."""
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, ResponseHandlingException):
        return "unreachable", str(error.source)
    if isinstance(error, UnexpectedResponse):
        return str(error.status_code), error.content.decode("utf-8", "replace")[:300]
    code = getattr(error, "code", None)  # grpc.RpcError, without importing grpc
    if type(error).__module__.startswith("grpc") and callable(code):
        return code().name, str(getattr(error, "details", lambda: "")())
    return None, ""


# The collection


def vector_names(budgets: Budgets) -> dict[int, str]:
    """Named vectors of a page: number of tokens -> name. `first`, where HNSW starts, is always there.

    >>> vector_names(usual(64))
    {1: 'first', 4: 'prefix4', 8: 'prefix8', 16: 'prefix16', 64: 'full'}
    >>> vector_names(usual(6)), vector_names(Budgets.parse("4x8 32x128"))
    ({1: 'first', 4: 'prefix4', 6: 'full'}, {1: 'first', 8: 'prefix8', 128: 'full'})
    """
    r_c = budgets.full.r_c
    ends = {scanned(budgets).r_c, *(stop.r_c for stop in budgets)}
    named = {end: f"prefix{end}" for end in sorted(ends) if end < r_c} | {r_c: "full"}
    return {1: "first"} | {end: name for end, name in named.items() if end > 1}


def make(link: Link, budgets: Budgets, dim: int, fingerprint: str, shards: int, replicas: int) -> None:
    """Create the collection: HNSW on `first` only; `first` and the candidate prefix stay in memory."""
    m, ends = models(), vector_names(budgets)
    scan = scanned(budgets).r_c

    def params(end: int) -> Any:
        return m.VectorParams(
            size=dim,
            distance=m.Distance.DOT,  # rows are unit vectors; cosine would normalise them again
            datatype=m.Datatype.FLOAT16,
            on_disk=end not in (1, scan),
            hnsw_config=m.HnswConfigDiff(m=16, ef_construct=128) if end == 1 else m.HnswConfigDiff(m=0),
            multivector_config=None
            if end == 1
            else m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM),
        )

    try:
        link(
            "create_collection",
            vectors_config={name: params(end) for end, name in ends.items()},
            sparse_vectors_config={WORDS: m.SparseVectorParams(modifier=m.Modifier.IDF)},
            shard_number=shards,
            replication_factor=replicas,
            metadata=_head(budgets, dim, fingerprint) | {WORDS: NO_WORDS},
        )
    except (RuntimeError, ValueError):
        if not link("collection_exists"):  # otherwise another process created it
            raise
    if not link.simulated:
        link("create_payload_index", field_name="serial", field_schema=m.PayloadSchemaType.INTEGER)


def check(link: Link, budgets: Budgets, dim: int, fingerprint: str) -> None:
    """Raises ValueError unless the collection has these properties."""
    there = link("get_collection").config.metadata or {}
    if "format" not in there:
        raise ValueError(
            f"Collection {link.collection} at {link.location} does not say what it holds: it was not made by"
            " this program, or the server is older than Qdrant 1.16. Choose another name or a newer server."
        )
    for key, ours in _head(budgets, dim, fingerprint).items():
        if there.get(key) != ours:
            raise ValueError(
                f"Collection {link.collection} at {link.location} has {key} {there.get(key)!r}, not {ours!r}."
                " Choose another name, or delete it and add the pages anew."
            )


def _head(budgets: Budgets, dim: int, fingerprint: str) -> dict[str, Any]:
    """What a collection says of itself; where vectors end only if they do not end at the usual tokens."""
    r_c, ends = budgets.full.r_c, list(vector_names(budgets))
    told = {"format": FORMAT, "r_c": r_c, "dim": dim, "fingerprint": fingerprint}
    return told if ends == list(vector_names(usual(r_c))) else {**told, "ends": ends}
