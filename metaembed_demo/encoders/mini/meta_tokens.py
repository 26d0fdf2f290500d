"""Meta Tokens of MetaEmbed-Mini: their layers and attention pooling.

Text does not attend to Meta Tokens, so its states are computed once (encoders/mini/text_path.py); image views
are appended to them by the image projection. This module holds all weights trained by the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import torch
from torch import nn
from torch.nn import functional as F

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.types import View

from .image_projection import ImageProjection
from .parts import Parts, content_parts
from .text_path import KEPT, WIDTH, TextPath, TextStates

HEADS = 12
DIM = WIDTH  # 128 dimensions cost 3 to 10 points of nDCG@5 (assets/README.md)
R_Q, R_C = OURS.full.r_q, OURS.full.r_c
META_LAYERS = KEPT  # copies of the text path's last layers; six gained nothing (assets/README.md)
DENSE = 4_096  # word pieces; a page of more is very dense
VIEW = 1  # id of an unused word piece; its log-IDF is the weight of image views
VIEW_WEIGHT = 3.5  # initial log-IDF of VIEW
VIEW_GAIN = (1.0, 0.8, 0.6, 0.5, 0.5)  # added to it by group of page tokens, which IDF's square root needs
QUERY_VIEW_GAIN = 2.0  # the same in all tokens of a picture that is asked with, whatever the weights
SEGMENT_CAP = 3.0  # upper bound of `distance`, in segment widths
# Tensor names in mini.safetensors that differ from this module's.
ON_DISK = {
    "log_idf": "rarity",
    "query_idf_scale": "query_rarity",
    "page_idf_scale": "page_rarity",
    "pooling.": "look.",
    "image_projection.": "sight.",
}


def segments(counts: Sequence[int]) -> torch.Tensor:
    """(sum of counts, 2) the segments [start, end] that tokens are biased towards.

    For each count n in turn, n equal parts of 0..1. For the groups of nested budgets: page token 0 the whole
    page, 1-3 thirds, 4-7 quarters, 8-15 eighths, 16-63 forty-eighths; of query tokens two the whole, then
    halves, quarters and eighths. Without segments all tokens converge and larger budgets gain nothing.
    """
    return torch.tensor([(i / n, (i + 1) / n) for n in counts for i in range(n)])


def distance(text: TextStates, segment: torch.Tensor, count: int = OURS.page_sizes[-1]) -> torch.Tensor:
    """(B, R, T) distance of each word piece from each segment (R, 2), in segment widths, capped.

    Where the text has parts, the last `count` segments are left for them: a word is within its own part, and
    as far as can be from others. A view keeps its distance from the segment.
    """
    start, end = segment[:, 0, None], segment[:, 1, None]
    first, last = (text.place - text.reach)[:, None], (text.place + text.reach)[:, None]
    outside = torch.maximum(start - last, first - end).clamp(min=0)
    found = (outside / (end - start)).clamp(max=SEGMENT_CAP)
    if text.parts is None:
        return found
    apart = (text.parts[:, None] != torch.arange(count)[:, None]).to(found.dtype) * SEGMENT_CAP
    parted = torch.where(text.words[:, None], apart, found[:, -count:])
    return torch.cat([found[:, :-count], parted], 1)


def repetition(text: TextStates) -> torch.Tensor:
    """(B, T) what pieces of a very dense page lose in weight: the log of how often the page has them.

    There a segment holds a hundred words, in whose mean a sentence would drown. Other pages lose nothing.
    """
    found = torch.zeros(text.ids.shape)
    for row in (text.mask.sum(1) > DENSE).nonzero().flatten().tolist():
        counts = torch.bincount(text.ids[row][text.mask[row]], minlength=int(text.ids[row].max()) + 1)
        found[row] = counts[text.ids[row]].clamp(min=1).log()
    return found


@dataclass(frozen=True)
class ImageInputs:
    """Image views of one text, and how many of its last word pieces are image tags."""

    views: Sequence[View] = ()
    tag_pieces: int = 0


class MetaLayer(nn.Module):
    """A transformer layer in which Meta Tokens attend to the text and to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm, self.norm_out = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.segment_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, meta: torch.Tensor, text: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """meta (B, R, WIDTH), text (B, T, WIDTH), logit bias (B, R, T + R) -> (B, R, WIDTH)."""
        seen = torch.cat([text.to(meta.dtype), meta], 1)
        q, k, v = _heads(self.query(meta)), _heads(self.key(seen)), _heads(self.value(seen))
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None].to(q.dtype))
        meta = self.norm(meta + self.out(read.transpose(1, 2).flatten(2)))
        return self.norm_out(meta + self.down(F.gelu(self.up(meta))))


class AttentionPooling(nn.Module):
    """Multi-head attention pooling of the final text states by each Meta Token, without a value projection.

    `query` is initialised to zero, so before training a token is the IDF-weighted mean of its segment. MiniLM
    was trained to embed a text as the mean of its final states.
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
        """(B, HEADS, R, T) attention weights of `forward`; rows sum to 1."""
        q, k = _heads(self.query(meta)), _heads(self.key(text))
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias[:, None]).softmax(-1)


@dataclass(frozen=True)
class MetaConfig:
    """What a weight file says of itself.

    text_path: the name of the text path whose states it reads.
    vocabulary: word pieces of that path.
    parts: what the last group of page tokens pools (`parts.py`); the others pool slices.
    nested: whether tokens are coarse to fine. Otherwise all of a side are equals, one group: what a model has
        that is trained without MMR.
    """

    def sizes(self, of_queries: bool) -> tuple[int, ...]:
        """Meta Tokens of each group of a side."""
        if self.nested:
            return OURS.query_sizes if of_queries else OURS.page_sizes
        return (R_Q if of_queries else R_C,)

    def parts_of(self, pages: TextStates, images: Sequence[ImageInputs] = ()) -> torch.Tensor | None:
        """(B, T) int64 parts that the last group of tokens pools, or None. `pages` are not centred."""
        if self.parts == "slices":
            return None
        count, tags = self.sizes(of_queries=False)[-1], [row.tag_pieces for row in images]
        return content_parts(pages.final, pages.words, count, self.parts, tags)

    text_path: str = "minilm"
    vocabulary: int = 30_522
    parts: Parts = "slices"
    nested: bool = True

    def __post_init__(self) -> None:
        if self.parts not in get_args(Parts):
            raise ValueError(f"parts is {self.parts}; it can be {', '.join(get_args(Parts))}.")


class MetaPath(nn.Module):
    """All trained weights: Meta Tokens, their layers, attention pooling, log-IDF, image projection."""

    state_length: torch.Tensor
    state_center: torch.Tensor
    view_gain: torch.Tensor

    def __init__(self, config: MetaConfig | None = None) -> None:
        super().__init__()
        self.config = config or MetaConfig()
        self.query_tokens = nn.Parameter(torch.zeros(R_Q, WIDTH))
        self.page_tokens = nn.Parameter(torch.zeros(R_C, WIDTH))
        self.layers = nn.ModuleList(MetaLayer() for _ in range(META_LAYERS))
        self.pooling = AttentionPooling()
        self.log_idf = nn.Parameter(torch.zeros(self.config.vocabulary))  # of each word piece
        self.query_idf_scale = nn.Parameter(torch.tensor(1.0))  # exponent of the IDF weight
        self.page_idf_scale = nn.Parameter(torch.tensor(1.0))
        # A fixed rotation: training it lost points on out-of-domain texts (assets/README.md).
        self.project = nn.Linear(WIDTH, DIM, bias=False).requires_grad_(False)
        self.image_projection = ImageProjection()
        self.register_buffer("state_length", torch.tensor(1.0))  # norm given to views
        self.register_buffer("state_center", torch.zeros(WIDTH))  # what all states share
        self.register_buffer("view_gain", torch.zeros(len(OURS)))  # added to VIEW's log-IDF, by page group
        self.page_segments, self.query_segments = (segments(self.config.sizes(q)) for q in (False, True))

    def pages(self, text: TextStates, images: Sequence[ImageInputs] = ()) -> torch.Tensor:
        """(B, R_C, DIM) unit rows. `images` is empty when no page has any."""
        return self._forward(text, images, of_queries=False)

    def queries(self, text: TextStates, images: Sequence[ImageInputs] = ()) -> torch.Tensor:
        """(B, R_Q, DIM) unit rows."""
        return self._forward(text, images, of_queries=True)

    def pooled(self, text: TextStates, of_queries: bool) -> torch.Tensor:
        """(B, R, DIM) unit rows by pooling words with all-zero Meta Tokens: the model before training."""
        nothing = torch.zeros(len(text.ids), len(self._side(of_queries)[0]), WIDTH)
        return self._embedded(nothing, self.parted(text, of_queries), of_queries)

    def attention(
        self, text: TextStates, images: Sequence[ImageInputs], of_queries: bool
    ) -> tuple[TextStates, torch.Tensor]:
        """The pooled states (words and views), and the pooling weights (B, HEADS, R, T)."""
        text = self.parted(text, of_queries, images)
        seen = self.with_views(text, images)
        bias = self._bias(seen, of_queries)
        return seen, self.pooling.attention(self._meta_states(text, of_queries), seen.final, bias)

    def parted(self, text: TextStates, of_queries: bool, images: Sequence[ImageInputs] = ()) -> TextStates:
        """`text` with centred final states and, of pages, the parts that the last tokens pool."""
        parts = text.parts
        if parts is None and not of_queries:
            parts = self.config.parts_of(text, images)
        return replace(text, final=text.final - self.state_center, parts=parts)

    def _side(self, of_queries: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Meta Tokens, their segments, and the scale of log-IDF."""
        if of_queries:
            return self.query_tokens, self.query_segments, self.query_idf_scale
        return self.page_tokens, self.page_segments, self.page_idf_scale

    def _layers(self) -> Iterable[MetaLayer]:
        return cast(Iterable[MetaLayer], self.layers)  # torch types the members as plain modules

    def _forward(self, text: TextStates, images: Sequence[ImageInputs], of_queries: bool) -> torch.Tensor:
        text = self.parted(text, of_queries, images)
        return self._embedded(self._meta_states(text, of_queries), self.with_views(text, images), of_queries)

    def _meta_states(self, text: TextStates, of_queries: bool) -> torch.Tensor:
        """(B, R, WIDTH) Meta Token states after the layers: the queries of the attention pooling."""
        tokens, segment, _ = self._side(of_queries)
        batch, room = len(text.mask), len(tokens)
        meta = tokens.expand(batch, -1, -1)
        closed = torch.zeros(batch, room, text.mask.shape[1]).masked_fill(~text.mask[:, None], float("-inf"))
        open_ = torch.zeros(batch, room, room)
        distances = distance(text, segment, self.config.sizes(of_queries)[-1])
        for layer, states in zip(self._layers(), text.layers[-META_LAYERS:], strict=True):
            bias = closed - layer.segment_scale * distances
            meta = layer(meta, states, torch.cat([bias, open_], 2))
        return meta

    def _bias(self, seen: TextStates, of_queries: bool) -> torch.Tensor:
        """(B, R, T) pooling bias: scaled log-IDF minus scaled distance; -inf for padding."""
        _, segment, weight = self._side(of_queries)
        rarity = weight * self.log_idf[seen.ids] - repetition(seen)
        log_idf = rarity.masked_fill(~seen.mask, float("-inf"))[:, None]
        gain: torch.Tensor | float = QUERY_VIEW_GAIN
        if not of_queries:
            gain = self.view_gain.repeat_interleave(torch.tensor(OURS.page_sizes))[:, None]
        log_idf = log_idf + (seen.ids == VIEW)[:, None] * gain
        apart = distance(seen, segment, self.config.sizes(of_queries)[-1])
        return log_idf - self.pooling.segment_scale * apart

    def _embedded(self, meta: torch.Tensor, seen: TextStates, of_queries: bool) -> torch.Tensor:
        read = self.pooling(meta, seen.final, self._bias(seen, of_queries))
        return F.normalize(self.project(read).float(), dim=-1)

    def with_views(self, text: TextStates, images: Sequence[ImageInputs]) -> TextStates:
        """`text` with views appended to its final states, each spanning the image tags. Has no `layers`."""
        most = max((len(row.views) for row in images), default=0)
        if not most:
            return text
        final, mask = torch.zeros(len(images), most, WIDTH), torch.zeros(len(images), most, dtype=torch.bool)
        reach = torch.zeros(len(images), most)
        for i, row in enumerate(images):
            n = len(row.views)
            final[i, :n] = self.state_length * self.image_projection(row.views)
            mask[i, :n] = True
            pieces = int(text.mask[i].sum())
            other = int(text.words[i].sum()) > row.tag_pieces  # words, before the tags
            first = max(0, pieces - row.tag_pieces - 2) if other else 0  # 2: [CLS] and [SEP]
            reach[i, :n] = (1 - first / pieces) / 2

        def both(words: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
            return torch.cat([words, views], 1)

        return replace(
            text,
            layers=[],
            final=both(text.final, final),
            mask=both(text.mask, mask),
            place=both(text.place, 1 - reach),
            ids=both(text.ids, torch.full(mask.shape, VIEW)),
            reach=both(text.reach, reach),
            words=both(text.words, torch.zeros_like(mask)),
            parts=None if text.parts is None else both(text.parts, torch.full(mask.shape, -1)),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state dict under its names on disk."""
        return {_renamed(name, ON_DISK): tensor for name, tensor in self.state_dict().items()}

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Load what `tensors` returned. Raises KeyError or RuntimeError if it is of another model."""
        here = {disk: name for name, disk in ON_DISK.items()}
        state = {"state_center": torch.zeros(WIDTH), "view_gain": torch.zeros(len(OURS))}  # lacking before
        state |= {_renamed(name, here): tensor for name, tensor in tensors.items()}
        drawn, named = (len(state[f"image_projection.{name}"]) for name in ("keys", "captions"))
        state = {"image_projection.counts": torch.ones(named)} | state
        self.image_projection = ImageProjection(drawn, named)
        self.load_state_dict(state)

    @torch.no_grad()
    def start_from(
        self, text: TextPath, embeddings: torch.Tensor, log_idf: torch.Tensor, state_length: float = 1.0
    ) -> None:
        """Initialise for training: layers from the text path's last ones, Meta Tokens as [CLS] + N(0, 1).

        Identical Meta Tokens would stay identical, hence the noise. The projection is the principal
        directions of `embeddings`, largest first, so that a prefix of the dimensions preserves cosines best.

        Args:
            embeddings: (n, WIDTH) the path's own embeddings of sample texts, less `state_center`.
            log_idf: (vocabulary,) log of the weight of each word piece.
            state_length: mean norm of the path's centred final states, which views are scaled to.
        """
        model = cast(Any, text.model)
        for mine, theirs in zip(self._layers(), model.encoder.layer[-META_LAYERS:], strict=True):
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
                copy.load_state_dict(dict(original.named_parameters(recurse=False)))  # without adapters
        cls = model.embeddings(inputs_embeds=text.vectors(torch.tensor([[text.cls]])))[0, 0]
        for tokens in (self.query_tokens, self.page_tokens):
            tokens.copy_(cls + torch.randn_like(tokens))
        _, directions = torch.linalg.eigh(embeddings.T @ embeddings)  # ascending eigenvalues
        self.project.weight.copy_(directions[:, -DIM:].flip(1).T)
        self.state_length.fill_(state_length)
        self.log_idf.copy_(log_idf)
        self.log_idf[VIEW] = VIEW_WEIGHT
        self.view_gain.copy_(torch.tensor(VIEW_GAIN))


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(B, n, WIDTH) -> (B, HEADS, n, WIDTH / HEADS)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def _renamed(name: str, names: dict[str, str]) -> str:
    """`name` with the one of `names` that equals it, or is its prefix ending in a dot, replaced.

    >>> [_renamed(name, ON_DISK) for name in ("pooling.key.bias", "log_idf", "project.weight")]
    ['look.key.bias', 'rarity', 'project.weight']
    """
    first, dot, rest = name.partition(".")
    return names.get(first + dot, first + dot) + rest
