"""What vectors become when nothing after a picture can attend to a part of it.

The language model's inputs and masks are taken once, as the whole model makes them. In causal models what
stands before the end of the picture does not depend on what is blocked, so its keys and values are kept; for
each cell only the rest runs, with a mask of its own. Where positions attend to what follows (ModernVBERT, the
prompt of PaliGemma), nothing can be kept. There a cell of a picture is taken out before the vision tower, in
a whole pass; of a text, nothing but the word itself can attend to it, or it would speak through others. Where
cells lie beside the sequence (Mllama), the language model runs whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from metaembed_demo.core.types import Box, Embedding, FloatArray, Query

from . import backbone
from .cells import Cells
from .prompts import Inputs, Item
from .unread_patches import without_cells

Kwargs = dict[str, Any]
CLOSE = 0.02  # of vectors computed in two ways, as 1 - cosine
DEAR = 8  # passes after a picture for which there is memory where there is for a whole one


class Blockable(Protocol):
    """An encoder on a language model of which parts of the input can be blocked.

    network: as `encoder.Network`. all_passes: all that a function yields with the encoder and some inputs, on
    ZeroGPU with a GPU of its own.
    """

    device: str
    lock: Lock
    network: Any
    all_passes: Callable[..., list[FloatArray]]

    def taken(self, item: Item, of_queries: bool, boxes: Sequence[Box]) -> tuple[Inputs, slice, Cells]: ...

    def placed(self, inputs: Inputs) -> Inputs: ...

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]: ...


class Knockout:
    """Passes of a network's language model over one input, with cells blocked."""

    def __init__(self, network: Any, inputs: Inputs, keep: slice) -> None:
        """`inputs` are of one item, on the model's device; `keep` the positions of the Meta Tokens."""
        self.network, self.keep = network, keep
        self.language: Any = backbone.language_model(network.model)[1]
        self.inputs = inputs
        self.given, self.mask, self.whole = _given(network, self.language, inputs, keep)
        self.length = self.given["inputs_embeds"].shape[1]

    @property
    def causal(self) -> bool:
        """Whether nothing depends on what stands after it."""
        return not any(self._attended(kind).triu(1).any() for kind in self._kinds)

    def vectors(self, cells: Cells, batch: int, cached: bool = True) -> Iterator[torch.Tensor]:
        """(b, r, dim) float32 unit rows in batches: first with nothing blocked, then without each cell.

        Args:
            batch: how many at once, where not every one takes a whole pass.
            cached: keep what does not depend on what is blocked, where there is such a thing.

        Raises:
            ValueError: when the language model alone does not give the network's vectors.
        """
        if cells.of_picture and not self.causal:
            yield from without_cells(self.network, self.inputs, self.keep, cells, max(batch // DEAR, 1))
            return
        sets: list[Sequence[int]] = [(), *cells.places]
        run: Callable[..., torch.Tensor]
        state: Any = None
        if cells.beside:
            run = self._beside
        elif self.causal and cached and any(cells.places):
            run, state = self._after, self._kept(self._end(cells))
        else:
            run = self._masked
        for start in range(0, len(sets), batch):
            with torch.inference_mode():
                found = self.network.rows(run(sets[start : start + batch], cells, state)[:, self.keep])
            if start == 0 and float((1 - (found[0] * self.whole).sum(-1)).max()) > CLOSE:
                kind = self.network.model.config.model_type
                raise ValueError(f"The attention of {kind} is not known well enough to block parts of it.")
            yield found

    def _end(self, cells: Cells) -> int:
        """The position after the last of a cell."""
        return max((max(places, default=-1) for places in cells.places), default=-1) + 1

    @torch.inference_mode()
    def _kept(self, end: int) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
        """Keys and values of every layer up to `end`; None of one that does not run (Mllama's, without
        a picture).
        """
        cache = DynamicCache()
        masks = self._masks([()], torch.arange(end), torch.arange(0), end)
        given = self._part(slice(None, end), 1)
        self._states(given | {"attention_mask": masks, "past_key_values": cache, "use_cache": True})
        return [(keys, values) for keys, values, _ in cache]

    def _after(self, sets: Sequence[Sequence[int]], cells: Cells, kept: Any) -> torch.Tensor:
        end = self._end(cells)
        past = [
            tuple(None if x is None else x.expand(len(sets), *x.shape[1:]) for x in pair) for pair in kept
        ]
        cache = DynamicCache(ddp_cache_data=past)
        masks = self._masks(sets, torch.arange(end, self.length), torch.arange(end, self.length))
        given = self._part(slice(end, None), len(sets))
        given = {key: value for key, value in given.items() if key not in OF_PICTURES}
        return self._states(given | {"attention_mask": masks, "past_key_values": cache, "use_cache": True})

    def whole_pass(self) -> Kwargs:
        """The language model's inputs, with masks, for a pass with nothing blocked, of which gradients can be
        taken.
        """
        masks = self._masks([()], torch.arange(self.length), torch.arange(0))
        given = self._part(slice(None), 1)
        given |= {key: value.clone() for key, value in given.items() if key != DEEP}
        if DEEP in given:
            given[DEEP] = [each.clone() for each in given[DEEP]]
        return given | {"attention_mask": masks, "use_cache": False}

    def _masked(self, sets: Sequence[Sequence[int]], cells: Cells, _: Any) -> torch.Tensor:
        everywhere = torch.arange(self.length)
        after = everywhere[everywhere >= self._end(cells)] if self.causal else everywhere
        masks = self._masks(sets, everywhere, after)
        return self._states(
            self._part(slice(None), len(sets)) | {"attention_mask": masks, "use_cache": False}
        )

    def _beside(self, sets: Sequence[Sequence[int]], cells: Cells, _: Any) -> torch.Tensor:
        given = self._part(slice(None), len(sets))
        seen = given["cross_attention_mask"].clone()
        for row, places in enumerate(sets):
            seen[row, :, :, list(places)] = torch.finfo(seen.dtype).min
        # Rows that attend to nothing stay as they are: what they get is left out.
        seen *= given["full_text_row_masked_out_mask"]
        masks = self._masks(sets, torch.arange(self.length), torch.arange(0))
        return self._states(
            given | {"cross_attention_mask": seen, "attention_mask": masks, "use_cache": False}
        )

    def _states(self, given: Kwargs) -> torch.Tensor:
        with masks_allowed(self.language.config):
            states: torch.Tensor = self.language(**given).last_hidden_state
        return states

    def _part(self, where: slice, batch: int) -> Kwargs:
        """The language model's inputs at some positions, `batch` times."""
        found: Kwargs = {}
        for key, value in self.given.items():
            if key == "position_ids":  # M-RoPE's have an axis before the batch
                found[key] = value[..., where].expand(*value.shape[:-2], batch, -1)
            elif key == "cross_attention_states":
                found[key] = value.repeat(batch, 1, 1)
            elif key == DEEP:
                found[key] = [each.repeat(batch, 1) for each in value]
            else:  # the sequence is the second axis from the end, or the last of two
                sequence = value[:, where] if value.ndim != 4 else value[:, :, where]
                found[key] = sequence.expand(batch, *sequence.shape[1:])
        return found

    def _masks(
        self, sets: Sequence[Sequence[int]], rows: torch.Tensor, blocked: torch.Tensor, columns: int = 0
    ) -> Any:
        """4D masks, to add to logits: `rows` attend to the first `columns` positions (0: to all of them), and
        the rows `blocked` not to the positions of a set that they are not of.
        """
        found = {}
        for kind in self._kinds:
            allowed = self._attended(kind)[rows][:, : columns or self.length].repeat(len(sets), 1, 1)
            if len(blocked):
                hit = torch.isin(rows, blocked)
                for row, places in enumerate(sets):
                    own = torch.isin(rows, torch.tensor(places, dtype=torch.long))
                    allowed[row][:, list(places)] &= ~(hit & ~own)[:, None]
            embeds = self.given["inputs_embeds"]
            least = torch.finfo(embeds.dtype).min
            mask = torch.zeros(allowed.shape, dtype=embeds.dtype).masked_fill(~allowed, least)
            found[kind] = mask[:, None].to(embeds.device)
        return found if "sliding_attention" in found else found.popitem()[1]

    @property
    def _kinds(self) -> list[str]:
        """Of the layers' attention."""
        return sorted(set(getattr(self.language.config, "layer_types", None) or ["full_attention"]))

    def _attended(self, kind: str) -> torch.Tensor:
        """(T, T) bool: which positions a row attends to in layers of a kind.

        By the mask that the model has made, where it makes one; else by what its layers do without.
        """
        mask = self.mask[kind] if isinstance(self.mask, dict) else self.mask
        if mask is not None and mask.ndim == 4:
            return (mask[0, 0] if mask.dtype == torch.bool else mask[0, 0] >= 0).cpu()
        apart = torch.arange(self.length)[:, None] - torch.arange(self.length)
        one_way = all(getattr(part, "is_causal", True) for part in self.language.modules())
        allowed, near = (apart >= 0, apart + 1) if one_way else (apart == apart, apart.abs())
        if kind == "sliding_attention":
            allowed = allowed & (near <= self.language.config.sliding_window)
        return allowed


@contextmanager
def masks_allowed(config: Any) -> Iterator[None]:
    """Flash attention takes no masks of one's own; torch's attention computes the same with them."""
    before = config._attn_implementation
    if str(before).startswith("flash"):
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = before


DEEP = "deepstack_visual_embeds"
OF_PICTURES = ("visual_pos_masks", DEEP, "cross_attention_states")  # not needed once they are kept
TAKEN = ("position_ids", "cross_attention_mask", "full_text_row_masked_out_mask", *OF_PICTURES)


@torch.inference_mode()
def _given(network: Any, language: Any, inputs: Inputs, keep: slice) -> tuple[Kwargs, Any, torch.Tensor]:
    """What the language model is given with `inputs`, its mask, and the network's own vectors (r, dim)."""
    taken: Kwargs = {}
    hook = language.register_forward_pre_hook(lambda _, args, kwargs: taken.update(kwargs), with_kwargs=True)
    try:
        whole = network(inputs, keep)[0]
    finally:
        hook.remove()
    embeds = taken.get("inputs_embeds")
    if embeds is None:
        embeds = language.get_input_embeddings()(taken["input_ids"])
    found = {key: taken[key] for key in TAKEN if taken.get(key) is not None}
    if "position_ids" not in found:
        found["position_ids"] = torch.arange(embeds.shape[1], device=embeds.device)[None]
    return {**found, "inputs_embeds": embeds}, taken.get("attention_mask"), whole
