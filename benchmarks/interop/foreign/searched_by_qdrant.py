"""INDEX QUERIES OUT: the first pages of each query by qdrant-client's local mode, at every budget."""

import json
import sys

import numpy as np
import saved_index
from qdrant_client import QdrantClient, models
from versions import versions

K = 10

folder, queries, out = sys.argv[1:]
ids, pages = saved_index.read(folder)
asked, budgets = np.load(queries)["vectors"], np.load(queries)["budgets"].tolist()
client = QdrantClient(":memory:")
by_maxsim = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
vectors = {
    str(r_c): models.VectorParams(
        size=pages.shape[2], distance=models.Distance.DOT, multivector_config=by_maxsim
    )
    for _, r_c in budgets
}
client.create_collection("pages", vectors_config=vectors)
points = [
    models.PointStruct(id=at, vector={str(r_c): page[:r_c].tolist() for _, r_c in budgets})
    for at, page in enumerate(pages)
]
client.upsert("pages", points)
of_budget, scores = {}, {}
for r_q, r_c in budgets:
    ranked = [
        client.query_points("pages", query[:r_q].tolist(), using=str(r_c), limit=K).points for query in asked
    ]
    of_budget[f"{r_q}x{r_c}"] = [[ids[int(point.id)] for point in of_query] for of_query in ranked]
    scores[f"{r_q}x{r_c}"] = [[point.score for point in of_query] for of_query in ranked]
found = {"settings": {"local mode, exact": of_budget}, "scores": scores}
with open(out, "w") as file:
    json.dump(found | {"versions": versions(["qdrant-client", "numpy"])}, file)
