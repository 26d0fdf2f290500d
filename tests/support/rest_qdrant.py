"""A server with the part of Qdrant's REST interface that `index/qdrant/index.py` uses, on qdrant_client's
local mode.

Requests are read with the client's own models, which are generated from Qdrant's OpenAPI schema, so a request
that a server could not read fails here too. It says nothing about a server's HNSW, float16 or speed.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient, models

BODY_LIMIT = 32 << 20  # bytes; service.max_request_size_mb as it comes


class Handler(BaseHTTPRequestHandler):
    engine: QdrantClient
    lock: threading.Lock
    key: str | None

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self._with_body()

    def do_PATCH(self) -> None:
        self._with_body()

    def do_POST(self) -> None:
        self._with_body()

    def _with_body(self) -> None:
        length = int(self.headers["Content-Length"])
        if length > BODY_LIMIT:
            self.close_connection = True
            self._send(413, {"status": {"error": "too large"}})
        else:
            self._answer(json.loads(self.rfile.read(length)))

    def _answer(self, body: dict[str, Any]) -> None:
        if self.key and self.headers.get("api-key") != self.key:
            self._send(401, {"status": {"error": "Must provide an API key"}})
            return
        _, name, *rest = self.path.partition("?")[0].strip("/").split("/")
        try:
            with self.lock:
                result = self._do(self.command, name, "/".join(rest), body)
        except ValueError as error:
            self._send(404 if "not found" in str(error) else 400, {"status": {"error": str(error)}})
            return
        plain = json.loads(json.dumps(result, default=lambda model: model.model_dump(mode="json")))
        self._send(200, {"result": plain, "status": "ok", "time": 0.0})

    def _do(self, command: str, name: str, rest: str, body: dict[str, Any]) -> Any:
        engine = self.engine
        match command, rest:
            case "GET", "exists":
                return {"exists": engine.collection_exists(name)}
            case "GET", "":
                return engine.get_collection(name)
            case "PUT", "":
                made = models.CreateCollection(**body)
                sparse = made.sparse_vectors
                return engine.create_collection(name, made.vectors, sparse, metadata=made.metadata)
            case "PATCH", "":
                return engine.update_collection(name, metadata=models.UpdateCollection(**body).metadata)
            case "PUT", "points/vectors":
                return engine.update_vectors(name, models.UpdateVectors(**body).points)
            case "PUT", "index":
                models.CreateFieldIndex(**body)
                return {"operation_id": 0, "status": "completed"}
            case "PUT", "points":
                return engine.upsert(name, models.PointsList(**body).points)
            case "POST", "points":
                asked = models.PointRequest(**body)
                return engine.retrieve(name, asked.ids, asked.with_payload, asked.with_vector)
            case "POST", "points/delete":
                return engine.delete(name, models.FilterSelector(**body))
            case "POST", "points/count":
                count = models.CountRequest(**body)
                return engine.count(name, count.filter, count.exact)
            case "POST", "points/scroll":
                page = models.ScrollRequest(**body)
                points, following = engine.scroll(
                    name,
                    page.filter,
                    page.limit,
                    page.order_by,
                    page.offset,
                    page.with_payload,
                    page.with_vector,
                )
                return {"points": points, "next_page_offset": following}
            case "POST", "points/query":
                query = models.QueryRequest(**body)
                return engine.query_points(
                    name,
                    query=query.query,
                    using=query.using,
                    prefetch=query.prefetch,
                    query_filter=query.filter,
                    limit=query.limit,
                    with_payload=query.with_payload,
                )
        raise ValueError(f"{command} {rest} is not known here")

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(key: str | None = None) -> Iterator[str]:
    """The address of a server with no collection, which wants `key` where one is given."""
    state = {"engine": QdrantClient(":memory:"), "lock": threading.Lock(), "key": key}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), state))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
