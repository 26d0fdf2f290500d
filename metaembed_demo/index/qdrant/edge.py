"""Qdrant's in-process engine (package qdrant-edge-py) with the interface of `qdrant_client.QdrantClient`.

Implements only what `index/qdrant/index.py` calls. A folder has one collection, with its metadata as JSON, as
a shard stores none. Only one process can have the folder open.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from metaembed_demo.core import disk
from metaembed_demo.core.extras import install

OPTIMIZE_AFTER = 5_000  # points written between optimisations (merging segments, building HNSW)


class EdgeClient:
    """Takes `qdrant_client.models`; results have the same attribute names."""

    def __init__(self, folder: str, collection: str) -> None:
        """
        Raises:
            ImportError: when qdrant-edge-py is not installed.
            ValueError: when `collection` is not a valid folder name.
        """
        try:
            import qdrant_edge
        except ImportError as error:
            raise ImportError(f"Qdrant in this process needs its engine: {install('qdrant')}") from error
        if not re.fullmatch(r"\w[\w.-]{0,199}", collection):
            raise ValueError(
                f"{collection!r} cannot name a collection: use letters, digits, '.', '-' and '_'."
            )
        self._edge = qdrant_edge
        self._shard_path = Path(folder) / collection / "shard"
        self._meta_path = Path(folder) / collection / "metadata.json"
        self._shard: Any = None
        self._written = 0  # points since the last optimisation
        if self._meta_path.exists():
            self._shard = qdrant_edge.EdgeShard.load(str(self._shard_path))

    def close(self) -> None:
        if self._shard is not None:
            self._optimize()
            self._shard.flush()
            self._shard.close()
            self._shard = None

    # The collection

    def collection_exists(self, collection_name: str) -> bool:
        return self._shard is not None

    def create_collection(
        self,
        collection_name: str,
        vectors_config: dict[str, Any],
        sparse_vectors_config: dict[str, Any],
        shard_number: int,
        replication_factor: int,
        metadata: dict[str, Any],
    ) -> None:
        """Ignores shards and replicas: there is one of each."""
        self._shard_path.mkdir(parents=True)
        vectors = {name: self._params(params) for name, params in vectors_config.items()}
        idf = self._edge.EdgeSparseVectorParams(modifier=self._edge.Modifier.Idf)
        sparse = dict.fromkeys(sparse_vectors_config, idf)
        config = self._edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse)
        self._shard = self._edge.EdgeShard.create(str(self._shard_path), config)
        disk.write_json(self._meta_path, metadata)

    def _params(self, given: Any) -> Any:
        edge = self._edge
        many = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if given.multivector_config else None
        hnsw = edge.HnswIndexConfig(
            m=given.hnsw_config.m,
            ef_construct=given.hnsw_config.ef_construct or 100,
            full_scan_threshold=10_000,
        )
        return edge.EdgeVectorParams(
            given.size,
            edge.Distance.Dot,
            on_disk=given.on_disk,
            multivector_config=many,
            datatype=edge.VectorStorageDatatype.Float16,
            hnsw_config=hnsw,
        )

    def get_collection(self, collection_name: str) -> Any:
        return SimpleNamespace(config=SimpleNamespace(metadata=disk.read_json(self._meta_path)))

    def update_collection(self, collection_name: str, metadata: dict[str, Any]) -> None:
        disk.write_json(self._meta_path, disk.read_json(self._meta_path) | metadata)

    def create_vector_name(self, collection_name: str, vector_name: str, vector_name_config: Any) -> None:
        """Sparse vectors with IDF only."""
        idf = self._edge.Modifier.Idf
        self._shard.update(self._edge.UpdateOperation.create_sparse_vector(vector_name, modifier=idf))

    def create_payload_index(self, collection_name: str, field_name: str, field_schema: Any) -> None:
        kind = self._edge.PayloadSchemaType.Integer
        self._shard.update(self._edge.UpdateOperation.create_field_index(field_name, kind))

    # Points

    def upsert(self, collection_name: str, points: list[Any], wait: bool) -> None:
        made = [self._edge.Point(point.id, point.vector, point.payload) for point in points]
        self._shard.update(self._edge.UpdateOperation.upsert_points(made))
        self._written += len(points)
        if self._written >= OPTIMIZE_AFTER:
            self._optimize()

    def update_vectors(self, collection_name: str, points: list[Any]) -> None:
        """Sparse vectors only."""
        made = [
            self._edge.PointVectors(
                point.id, {name: self._query(vector) for name, vector in point.vector.items()}
            )
            for point in points
        ]
        self._shard.update(self._edge.UpdateOperation.update_vectors(made))

    def _optimize(self) -> None:
        if self._written:
            self._shard.optimize()
            self._written = 0

    def delete(self, collection_name: str, points_selector: Any, wait: bool) -> None:
        chosen = self._filter(points_selector.filter)
        self._shard.update(self._edge.UpdateOperation.delete_points_by_filter(chosen))

    def retrieve(
        self, collection_name: str, ids: list[str], with_vectors: list[str] | bool = False
    ) -> list[Any]:
        return list(self._shard.retrieve(ids, with_payload=True, with_vector=with_vectors))

    def scroll(
        self,
        collection_name: str,
        limit: int,
        offset: Any = None,
        order_by: Any = None,
        with_vectors: bool = False,
    ) -> tuple[list[Any], Any]:
        order = order_by and self._edge.OrderBy(order_by.key, self._edge.Direction.Desc)
        asked = self._edge.ScrollRequest(
            offset=offset, limit=limit, with_payload=True, with_vector=with_vectors, order_by=order
        )
        records, following = self._shard.scroll(asked)
        return list(records), following

    def count(self, collection_name: str, exact: bool, count_filter: Any = None) -> Any:
        asked = self._edge.CountRequest(exact=exact, filter=self._filter(count_filter))
        return SimpleNamespace(count=self._shard.count(asked))

    # Queries

    def query_points(
        self,
        collection_name: str,
        query: Any,
        using: str,
        limit: int,
        with_payload: bool,
        prefetch: Any = None,
        query_filter: Any = None,
        search_params: Any = None,
    ) -> Any:
        asked = self._edge.QueryRequest(
            limit=limit,
            query=self._edge.Query.Nearest(self._query(query), using=using),
            prefetches=self._prefetch(prefetch),
            filter=self._filter(query_filter),
            params=self._search_params(search_params),
            with_payload=with_payload,
        )
        return SimpleNamespace(points=self._shard.query(asked))

    def _prefetch(self, given: Any) -> list[Any]:
        if given is None:
            return []
        return [
            self._edge.Prefetch(
                limit=given.limit,
                query=self._edge.Query.Nearest(given.query, using=given.using),
                prefetches=self._prefetch(given.prefetch),
                params=self._search_params(given.params),
            )
        ]

    def _query(self, given: Any) -> Any:
        sparse = not isinstance(given, list)
        return self._edge.SparseVector(given.indices, given.values) if sparse else given

    def _search_params(self, given: Any) -> Any:
        return given and self._edge.SearchParams(hnsw_ef=given.hnsw_ef, exact=bool(given.exact))

    def _filter(self, given: Any) -> Any:
        if given is None:
            return None
        return self._edge.Filter(must=[self._condition(one) for one in given.must])

    def _condition(self, given: Any) -> Any:
        if hasattr(given, "has_vector"):
            return self._edge.HasVectorCondition(given.has_vector)
        return self._edge.HasIdCondition(set(given.has_id))
