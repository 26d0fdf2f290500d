"""FOLDER ITEMS OUT: the vectors and scores of a checkpoint by PyLate's own classes."""

import sys

import torch
from items import read, write
from pylate import models, scores

folder, items, out = sys.argv[1:]
model = models.ColBERT(folder, device="cpu")
given = read(items)


def encode(kind, is_query):
    return model.encode(
        kind, is_query=is_query, batch_size=1, convert_to_tensor=True, show_progress_bar=False
    )


asked = [{"text": text, "image": image} for text, image in given.asked]
queries = torch.stack([*encode(given.queries, True), *encode(asked, True)])
pages = torch.stack([*encode(given.texts, False), *encode(given.pictures, False)])
pixels = [model[0].tokenize([picture])["pixel_values"] for picture in given.every_picture]
found = scores.colbert_scores(queries, pages)
names = ["pylate", "sentence-transformers", "transformers", "torch", "torchvision"]
write(out, queries, pages, found, pixels, names)
