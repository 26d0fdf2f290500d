"""FOLDER ITEMS OUT: the vectors and scores of a MultiVectorEncoder by sentence-transformers' own classes."""

import sys

from items import read, write
from sentence_transformers import MultiVectorEncoder

folder, items, out = sys.argv[1:]
model = MultiVectorEncoder(folder, device="cpu", trust_remote_code=False)
given = read(items)
queries = model.encode_query(given.queries, batch_size=1)
asked = model.encode_query([{"image": i, "text": t} if t else i for t, i in given.asked], batch_size=1)
pages = [page for kind in (given.texts, given.pictures) for page in model.encode_document(kind, batch_size=1)]
every = [*queries, *asked]
pixels = [model[0].preprocess([picture], task="document")["pixel_values"] for picture in given.every_picture]
write(
    out,
    every,
    pages,
    model.similarity(every, pages),
    pixels,
    ["sentence-transformers", "transformers", "torch", "torchvision"],
)
