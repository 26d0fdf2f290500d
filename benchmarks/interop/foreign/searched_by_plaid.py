"""INDEX QUERIES OUT: the first pages of each query by fast-plaid, at every budget and with each setting."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import saved_index
import torch
from fast_plaid import search
from versions import versions

# Bits a component's residual, and inverted lists that are looked into for a query token; None: all there are.
SETTINGS = {
    "4 bits, 8 lists (its defaults)": (4, 8),
    "4 bits, all lists": (4, None),
    "8 bits, all lists": (8, None),
}
MORE = 50  # pages: what an exact second stage would be given


def ranked(pages, queries, nbits, lists):
    with tempfile.TemporaryDirectory() as place:
        index = search.FastPlaid(index=place, device="cpu")
        index.create(documents_embeddings=[torch.from_numpy(page.copy()) for page in pages], nbits=nbits)
        lists = lists or len(np.load(Path(place, "centroids.npy")))
        asked = torch.from_numpy(queries.copy())
        return index.search(asked, top_k=MORE, n_ivf_probe=lists, show_progress=False, n_processes=1)


if __name__ == "__main__":
    folder, asked, out = sys.argv[1:]
    ids, vectors = saved_index.read(folder)
    queries, budgets = np.load(asked)["vectors"], np.load(asked)["budgets"].tolist()
    torch.set_num_threads(1)
    found = {
        name: {
            f"{r_q}x{r_c}": [
                [ids[at] for at, _ in of_query]
                for of_query in ranked(vectors[:, :r_c], queries[:, :r_q], *setting)
            ]
            for r_q, r_c in budgets
        }
        for name, setting in SETTINGS.items()
    }
    said = {"settings": found, "versions": versions(["fast-plaid", "torch", "numpy"])}
    Path(out).write_text(json.dumps(said))
