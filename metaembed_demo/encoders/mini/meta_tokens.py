"""The meta path of MetaEmbed-Mini: Meta Tokens, their layers, and the last look at the text that embeds it.

Text never sees the Meta Tokens, so its states are made once (encoders/mini/minilm.py), and the sight puts
pictures beside them. Everything that the project trains is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from transformers import BertModel

from metaembed_demo.core.budgets import BUDGETS, PAGE_SIZES, QUERY_SIZES
from metaembed_demo.core.types import View

from .image_projection import Sight
from .minilm import VOCABULARY, WIDTH, TextStates

HEADS = 12
DIM = WIDTH  # fewer lose more than they save: 128 cost 3 to 10 points of nDCG@5 (assets/README.md)
R_Q, R_C = BUDGETS[-1]
QUERY_RARITY = 1.25  # before training; a page's is 1
META_LAYERS = 2  # copies of the text path's last ones; six cost time and brought nothing (assets/README.md)
VIEW = 1  # a word piece that MiniLM never uses; its rarity is what a view weighs beside words
VIEW_WEIGHT = 3.5  # before training, a logarithm as words have them
SEGMENT_CAP = 3.0  # a token is never pushed further from a place than this many segment widths


def segments() -> torch.Tensor:
    """(R_C, 2) the stretch of the page that each candidate token starts out looking at, in 0..1.

    Token 0 the whole page, 1-3 thirds, 4-7 quarters, 8-15 eighths, 16-63 forty-eighths: coarse to fine, in
    the order of the nested budgets. Without it all tokens learn the same thing and the curve stays flat.
    """
    return _parts(PAGE_SIZES)


def query_segments() -> torch.Tensor:
    """(R_Q, 2) the same for a query's tokens: twice the whole, then halves, quarters and eighths."""
    return _parts(QUERY_SIZES)


def _parts(counts: Sequence[int]) -> torch.Tensor:
    """(sum of counts, 2): 0..1 cut into so many equal parts, for each count in turn."""
    return torch.tensor([(i / n, (i + 1) / n) for n in counts for i in range(n)])


def distance(text: TextStates, segment: torch.Tensor) -> torch.Tensor:
    """(B, R, T) how far each token lies outside each segment (R, 2), in segment widths, capped."""
    start, end = segment[:, 0, None], segment[:, 1, None]
    first, last = (text.place - text.reach)[:, None], (text.place + text.reach)[:, None]
    outside = torch.maximum(start - last, first - end).clamp(min=0)
    return (outside / (end - start)).clamp(max=SEGMENT_CAP)


@dataclass(frozen=True)
class Shown:
    """What a text's pictures show: their views, and how many of its last word pieces name what is in them."""

    views: Sequence[View] = ()
    pieces: int = 0


class MetaLayer(nn.Module):
    """One transformer layer whose queries are Meta Tokens and whose keys are the text and the Meta Tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm, self.norm_out = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.segment_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, meta: torch.Tensor, text: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """meta (B, R, WIDTH), text (B, T, WIDTH), bias (B, R, T + R) added to the attention logits."""
        seen = torch.cat([text.to(meta.dtype), meta], 1)
        q, k, v = _heads(self.query(meta)), _heads(self.key(seen)), _heads(self.value(seen))
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None].to(q.dtype))
        meta = self.norm(meta + self.out(read.transpose(1, 2).flatten(2)))
        return self.norm_out(meta + self.down(F.gelu(self.up(meta))))


class LastLook(nn.Module):
    """After the last layer: each Meta Token pools the text's final states, and nothing else.

    `query` starts at zero, so that before training a token is the mean of its segment's final states, rare
    words weighing more. As such a mean MiniLM was trained to embed a text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.segment_scale = nn.Parameter(torch.tensor(4.0))
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, meta: torch.Tensor, text: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """meta (B, R, WIDTH), text (B, T, WIDTH), bias (B, R, T) -> (B, R, WIDTH)."""
        text = text.to(meta.dtype)
        q, k, v = _heads(self.query(meta)), _heads(self.key(text)), _heads(text)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None].to(q.dtype))
        return read.transpose(1, 2).flatten(2)

    def attention(self, meta: torch.Tensor, text: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(B, HEADS, R, T), rows summing to 1: the weights that `forward` pools `text` with."""
        q, k = _heads(self.query(meta)), _heads(self.key(text))
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias[:, None]).softmax(-1)


class MetaPath(nn.Module):
    """All that the project makes itself: Meta Tokens, their layers, the last look, word rarity, the sight."""

    state_length: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.zeros(R_Q, WIDTH))
        self.page_tokens = nn.Parameter(torch.zeros(R_C, WIDTH))
        self.layers = nn.ModuleList(MetaLayer() for _ in range(META_LAYERS))
        self.look = LastLook()
        self.rarity = nn.Parameter(torch.zeros(VOCABULARY))  # of each word piece, a logarithm
        self.query_rarity = nn.Parameter(torch.tensor(QUERY_RARITY))
        self.page_rarity = nn.Parameter(torch.tensor(1.0))
        # A rotation, fixed: trained, it lost points on texts unlike the training's (assets/README.md).
        self.project = nn.Linear(WIDTH, DIM, bias=False).requires_grad_(False)
        self.sight = Sight()
        self.register_buffer("state_length", torch.tensor(1.0))  # typical of a final state, for a view
        self.page_segments, self.query_segments = segments(), query_segments()

    def pages(self, text: TextStates, shown: Sequence[Shown] = ()) -> torch.Tensor:
        """(B, R_C, DIM) unit rows. `shown` is empty when no page has pictures."""
        return self._forward(text, shown, of_queries=False)

    def queries(self, text: TextStates, shown: Sequence[Shown] = ()) -> torch.Tensor:
        """(B, R_Q, DIM) unit rows."""
        return self._forward(text, shown, of_queries=True)

    def pooled(self, text: TextStates, of_queries: bool) -> torch.Tensor:
        """(B, R, DIM) unit rows of the last look alone, at words only: what `start_from` starts at."""
        nothing = torch.zeros(len(text.ids), len(self._side(of_queries)[0]), WIDTH)
        return self._looked(nothing, text, of_queries)

    def attention(
        self, text: TextStates, shown: Sequence[Shown], of_queries: bool
    ) -> tuple[TextStates, torch.Tensor]:
        """What the last look sees, words and views; and its attention to that, (B, HEADS, R, T)."""
        seen = self.with_views(text, shown)
        bias = self._bias(seen, of_queries)
        return seen, self.look.attention(self._steered(text, of_queries), seen.final, bias)

    def _side(self, of_queries: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Meta Tokens, their segments, and the weight of rarity."""
        if of_queries:
            return self.query_tokens, self.query_segments, self.query_rarity
        return self.page_tokens, self.page_segments, self.page_rarity

    def _layers(self) -> Iterable[MetaLayer]:
        return cast(Iterable[MetaLayer], self.layers)  # torch types the members as plain modules

    def _forward(self, text: TextStates, shown: Sequence[Shown], of_queries: bool) -> torch.Tensor:
        return self._looked(self._steered(text, of_queries), self.with_views(text, shown), of_queries)

    def _steered(self, text: TextStates, of_queries: bool) -> torch.Tensor:
        """(B, R, WIDTH): the Meta Tokens after their layers, which decide where each looks."""
        tokens, segment, _ = self._side(of_queries)
        batch, room = len(text.mask), len(tokens)
        meta = tokens.expand(batch, -1, -1)
        closed = torch.zeros(batch, room, text.mask.shape[1]).masked_fill(~text.mask[:, None], float("-inf"))
        open_ = torch.zeros(batch, room, room)
        distances = distance(text, segment)
        for layer, states in zip(self._layers(), text.layers[-META_LAYERS:], strict=True):
            bias = closed - layer.segment_scale * distances
            meta = layer(meta, states, torch.cat([bias, open_], 2))
        return meta

    def _bias(self, seen: TextStates, of_queries: bool) -> torch.Tensor:
        """(B, R, T): far words count less, rare ones more, padding not at all."""
        _, segment, weight = self._side(of_queries)
        rarity = (weight * self.rarity[seen.ids]).masked_fill(~seen.mask, float("-inf"))
        return rarity[:, None] - self.look.segment_scale * distance(seen, segment)

    def _looked(self, meta: torch.Tensor, seen: TextStates, of_queries: bool) -> torch.Tensor:
        read = self.look(meta, seen.final, self._bias(seen, of_queries))
        return F.normalize(self.project(read).float(), dim=-1)

    def with_views(self, text: TextStates, shown: Sequence[Shown]) -> TextStates:
        """Views as further final states, each as wide as the words that name what it shows; for no layer."""
        most = max((len(row.views) for row in shown), default=0)
        if not most:
            return text
        final, mask = torch.zeros(len(shown), most, WIDTH), torch.zeros(len(shown), most, dtype=torch.bool)
        reach = torch.zeros(len(shown), most)
        for i, row in enumerate(shown):
            n = len(row.views)
            final[i, :n] = self.state_length * self.sight(row.views)
            mask[i, :n] = True
            pieces = int(text.mask[i].sum())
            first = max(0, pieces - row.pieces - 2)  # [CLS] and [SEP] belong to a text all about pictures
            reach[i, :n] = (1 - first / pieces) / 2
        parts = [
            (text.final, final),
            (text.mask, mask),
            (text.place, 1 - reach),
            (text.ids, torch.full(mask.shape, VIEW)),
            (text.reach, reach),
        ]
        return TextStates([], *(torch.cat([words, views], 1) for words, views in parts))

    def take(self, tensors: dict[str, torch.Tensor]) -> None:
        """Set everything from a `state_dict`. Raises KeyError or RuntimeError if it is of another model."""
        self.sight = Sight(len(tensors["sight.keys"]))
        self.load_state_dict(tensors)

    @torch.no_grad()
    def start_from(
        self, model: BertModel, embeddings: torch.Tensor, rarity: torch.Tensor, state_length: float = 1.0
    ) -> None:
        """Copy MiniLM's last layers. Meta Tokens start as [CLS] + N(0, 1): alike, they would stay alike.

        The projection starts as the principal directions of `embeddings` (n, WIDTH), MiniLM's own of some
        texts, the strongest first, so that a prefix of the dimensions keeps their cosines best.
        rarity: (VOCABULARY,) the logarithm of how rare each word piece is.
        state_length: mean length of MiniLM's final states, which a view shall have too.
        """
        for mine, theirs in zip(self._layers(), cast(Any, model).encoder.layer[-META_LAYERS:], strict=True):
            attention, output = theirs.attention, theirs.output
            pairs: dict[nn.Module, nn.Module] = {
                mine.query: attention.self.query,
                mine.key: attention.self.key,
                mine.value: attention.self.value,
                mine.out: attention.output.dense,
                mine.norm: attention.output.LayerNorm,
                mine.up: theirs.intermediate.dense,
                mine.down: output.dense,
                mine.norm_out: output.LayerNorm,
            }
            for copy, original in pairs.items():
                copy.load_state_dict(original.state_dict())
        cls = model.embeddings(input_ids=torch.tensor([[101]]))[0, 0]
        for tokens in (self.query_tokens, self.page_tokens):
            tokens.copy_(cls + torch.randn_like(tokens))
        _, directions = torch.linalg.eigh(embeddings.T @ embeddings)  # by growing eigenvalue
        self.project.weight.copy_(directions[:, -DIM:].flip(1).T)
        self.state_length.fill_(state_length)
        self.rarity.copy_(rarity)
        self.rarity[VIEW] = VIEW_WEIGHT


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(B, n, WIDTH) -> (B, HEADS, n, WIDTH / HEADS)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def save_meta(meta: MetaPath, path: Path) -> None:
    """Write the trained part as float16 safetensors (about 15 MB)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in meta.state_dict().items()}, path)


def load_meta(path: Path) -> MetaPath:
    """Read what `save_meta` wrote. Raises ValueError when the file does not fit this model."""
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        meta = MetaPath()
        meta.take(tensors)
    except Exception as error:
        raise ValueError(f"{path.name} does not hold MetaEmbed-Mini weights: {error}") from error
    return meta
