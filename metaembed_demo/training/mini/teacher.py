"""Teacher of MetaEmbed-Mini: readers that know more than 64 vectors, mixed.

They score every query of a batch against every page and need no labels: MaxSim over all tokens of both text
paths, MaxSim over slices of MiniLM's states, and BM25. Each reader's scores are standardised by query, since
their scales differ. Weights and temperature were chosen on natural questions to eight sources, each left out
in turn (assets/README.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.encoders.mini.encoder import TEXT_PATHS
from metaembed_demo.encoders.mini.meta_tokens import MetaConfig, MetaPath
from metaembed_demo.encoders.mini.text_path import TextPath, word_vectors
from metaembed_demo.evaluation.baselines import bm25
from metaembed_demo.training.matryoshka_loss import nested_scores

from .dataset import ENGLISH, TrainingExample, originals

WEIGHTS = {"minilm": 1.0, "e5": 1.0, "slices": 1.25, "bm25": 0.25}
READ_ENGLISH = ("minilm", "slices")  # and nothing else
AT_ONCE = 12  # pages per forward pass, sorted by length to reduce padding


@dataclass(frozen=True)
class Vectors:
    """Unit rows of B texts: tokens, B tensors (n, WIDTH); slices (B, R, WIDTH), None where not asked for."""

    tokens: list[torch.Tensor]
    slices: torch.Tensor | None


class Teacher:
    """Frozen copies of the text paths.

    weights: reader -> weight; one of none is not asked. half: the paths compute in bfloat16.
    """

    def __init__(self, weights: Mapping[str, float] = WEIGHTS, half: bool = False) -> None:
        self.half = half
        self.weights = {reader: weight for reader, weight in weights.items() if weight}
        self.paths = {name: TEXT_PATHS[name]() for name in ("minilm", "e5") if name in self.weights}
        if "slices" in self.weights:
            text = self.paths.setdefault("minilm", TEXT_PATHS["minilm"]())
            self.slices = MetaPath(MetaConfig(text.name, text.vocabulary)).requires_grad_(False)
            torch.nn.init.eye_(self.slices.project.weight)

    @torch.no_grad()
    def scores(self, examples: Sequence[TrainingExample]) -> torch.Tensor:
        """(Q, P) scores of `queries(examples)` against the examples' pages; each row has mean 0.

        A query in another language than its page is scored as what it translates, and only readers of
        several languages score one that is not English.
        """
        asked, languages = zip(*originals(examples), strict=True)
        pages = [example.words for example in examples]
        english = torch.tensor([[float(language == ENGLISH)] for language in languages])
        mixed, total = torch.zeros(len(asked), len(pages)), torch.zeros(len(asked), 1)
        for reader, scores in self._readings(asked, pages):
            weight = self.weights.get(reader, 0.0) * (english if reader in READ_ENGLISH else 1.0)
            mixed += weight * standardised(scores)
            total += weight
        return mixed / total

    def _readings(
        self, asked: Sequence[str], pages: Sequence[Sequence[str]]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Each reader and its (Q, P) scores."""
        for name, path in self.paths.items():
            of_queries = self._read(path, [query.split() for query in asked], of_queries=True)
            of_pages = self._read(path, pages, of_queries=False)
            yield name, token_scores(of_queries.tokens, of_pages.tokens)
            if of_queries.slices is not None and of_pages.slices is not None:
                yield "slices", nested_scores(of_queries.slices, of_pages.slices, BUDGETS[-1:])[0]
        if "bm25" in self.weights:
            yield "bm25", torch.from_numpy(bm25([" ".join(words) for words in pages], asked)[0])

    def _read(self, path: TextPath, texts: Sequence[Sequence[str]], of_queries: bool) -> Vectors:
        tokens: list[torch.Tensor] = []
        slices: list[torch.Tensor] = []
        for start in range(0, len(texts), AT_ONCE):
            ids = [path.tokens(words) for words in texts[start : start + AT_ONCE]]
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                states = path.states(ids, of_queries)
            tokens += word_vectors(states)
            if path.name == "minilm" and "slices" in self.weights:
                slices.append(self.slices.pooled(states, of_queries))
        return Vectors(tokens, torch.cat(slices) if slices else None)


def standardised(scores: torch.Tensor) -> torch.Tensor:
    """Rows with mean 0 and deviation 1; a row that is all alike says nothing and becomes 0."""
    apart = scores - scores.mean(1, keepdim=True)
    return apart / apart.std(1, keepdim=True).clamp(min=1e-6)


def token_scores(queries: Sequence[torch.Tensor], pages: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B_q, B_p) MaxSim over all tokens, divided by the number of query tokens.

    >>> one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> token_scores([one, two], [one]).tolist()
    [[1.0], [0.5]]
    """
    lengths = torch.tensor([len(query) for query in queries])
    owner = torch.repeat_interleave(torch.arange(len(queries)), lengths)
    stacked = torch.cat(list(queries))
    best = torch.stack([(stacked @ page.T).amax(1) for page in pages], 1)
    sums = torch.zeros(len(queries), len(pages)).index_add_(0, owner, best)
    return sums / lengths[:, None]
