"""What people would use otherwise, on the same words: BM25 and a text path's own vectors, one to all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import BYTES_PER_COMPONENT
from metaembed_demo.core.types import FloatArray, Query
from metaembed_demo.documents.extraction import read_image
from metaembed_demo.encoders.base import Encoder

from .beir import Beir, Judgements
from .evaluate import quality
from .metrics import Row, rank

if TYPE_CHECKING:
    from metaembed_demo.encoders.mini.text_path import TextPath

CHUNK_WORDS = 120
SINGLE_TOKENS = 256


def baselines(
    collection: Collection, beir: Beir, judgements: Judgements, text_path: str = "minilm"
) -> list[Row]:
    """Rows like a budget's: BM25, then the text path as one mean-pooled vector, best chunk, and all tokens.

    text_path: "minilm" or "e5".
    """
    ids = list(collection.pages)
    texts = [" ".join(word.text for word in collection.pages[page_id].words) for page_id in ids]
    keys = list(judgements.judged)
    asked = [query_text(beir.queries[key]) for key in keys]

    def row(name: str, scores: FloatArray, bytes_per_page: float) -> Row:
        rankings = {key: rank(of_query, ids) for key, of_query in zip(keys, scores, strict=True)}
        return {"name": name, **quality(rankings, judgements), "bytes_per_page": round(bytes_per_page)}

    from metaembed_demo.encoders.mini.encoder import TEXT_PATHS
    from metaembed_demo.encoders.mini.text_path import WIDTH

    keyword, keyword_bytes = bm25(texts, asked)
    model = TEXT_PATHS[text_path]()
    single = model.embed(asked, SINGLE_TOKENS, of_queries=True) @ model.embed(texts, SINGLE_TOKENS).T
    chunked, chunks = best_chunk(model, texts, asked)
    late, tokens = token_maxsim(model, texts, asked)
    vector_bytes = BYTES_PER_COMPONENT * WIDTH
    return [
        row("BM25 (English stop words, no stemming)", keyword, keyword_bytes),
        row(f"{model.title}, one mean-pooled vector of {SINGLE_TOKENS} tokens", single, vector_bytes),
        row(f"{model.title}, best chunk of {CHUNK_WORDS} words", chunked, vector_bytes * chunks / len(texts)),
        row(f"{model.title}, MaxSim over every token", late, vector_bytes * tokens / len(texts)),
    ]


def text_path_of(encoder: Encoder) -> str:
    """The text path to compare `encoder` with: its own, or MiniLM for one that has none."""
    text = getattr(encoder, "text", None)
    return str(text.name) if text is not None else "minilm"


def query_text(query: Query) -> str:
    """The query's text and the words read from its picture, as the encoder gets them."""
    shown = [word.text for word in read_image(query.image).words] if query.image is not None else []
    return " ".join([*query.text.split(), *shown])


def bm25(texts: Sequence[str], asked: Sequence[str]) -> tuple[FloatArray, float]:
    """Scores (queries, n) of bm25s with its defaults (Lucene's variant, k1 1.5, b 0.75), and bytes a page."""
    import bm25s  # half a second, which only this needs

    words = bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)
    model = bm25s.BM25()
    if not any(words):
        return np.zeros((len(asked), len(texts)), np.float32), 0.0
    model.index(words, show_progress=False)
    rows = []
    for query in bm25s.tokenize(list(asked), stopwords="en", return_ids=False, show_progress=False):
        known = [word for word in query if word in model.vocab_dict]
        rows.append(model.get_scores(known) if known else np.zeros(len(texts), np.float32))
    size = sum(array.nbytes for array in model.scores.values() if isinstance(array, np.ndarray))
    return np.stack(rows).astype(np.float32), size / len(texts)


def best_chunk(model: TextPath, texts: Sequence[str], asked: Sequence[str]) -> tuple[FloatArray, int]:
    """Scores (queries, n): the greatest cosine over a page's chunks of 120 words. And how many chunks."""
    chunks: list[str] = []
    starts: list[int] = []
    for text in texts:
        words = text.split()
        starts.append(len(chunks))
        chunks += [" ".join(words[at : at + CHUNK_WORDS]) for at in range(0, max(len(words), 1), CHUNK_WORDS)]
    similarity = model.embed(asked, SINGLE_TOKENS, of_queries=True) @ model.embed(chunks, SINGLE_TOKENS).T
    return np.maximum.reduceat(similarity, starts, axis=1), len(chunks)


def token_maxsim(model: TextPath, texts: Sequence[str], asked: Sequence[str]) -> tuple[FloatArray, int]:
    """Scores (queries, n) of late interaction over the final token states, as ColBERT does it.

    Every word piece of query and page is a unit vector, special tokens left out; the model was not trained
    for it. Also the number of page vectors.
    """
    queries = [model.token_vectors(text.split(), of_query=True) for text in asked]
    starts = np.cumsum([0, *(len(vectors) for vectors in queries)])[:-1]
    stacked = np.concatenate(queries)
    scores, tokens = np.empty((len(asked), len(texts)), np.float32), 0
    for at, text in enumerate(texts):
        vectors = model.token_vectors(text.split())
        tokens += len(vectors)
        scores[:, at] = np.add.reduceat((stacked @ vectors.T).max(1), starts)
    return scores, tokens
