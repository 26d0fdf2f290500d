"""Integrated gradients of a score over the cells of a picture: parts that add up.

The picture's states go from their mean to what they are in STEPS steps; a cell's part is its way times the
mean gradient along it. The parts sum to what the score has beyond that of a picture of one state, as far as
so few steps tell.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.attribution import Tokens

from .cells import Cells
from .knockout import DEEP, Blockable, Knockout, masks_allowed
from .prompts import Inputs

STEPS = 8


def steps(
    model: Blockable, inputs: Inputs, keep: slice, cells: Cells, query: FloatArray, winners: Tokens
) -> Iterator[FloatArray]:
    """The parts (1, k, n) float32 of n cells in the cosines of k query vectors and winners, one a step; their
    mean is the integral.
    """
    knockout = Knockout(model.network, model.placed(inputs), keep)
    given = knockout.whole_pass()
    name = "cross_attention_states" if cells.beside else "inputs_embeds"
    shape = given[name].shape
    places = sorted({place for own in cells.places for place in own})
    at = torch.tensor(places, dtype=torch.long, device=given[name].device)
    ends = [given[name].flatten(0, -2)[at], *given.get(DEEP, [])]
    starts = [end.mean(0, keepdim=True) for end in ends]
    asked = torch.from_numpy(query).to(at.device)
    chosen = torch.as_tensor(np.asarray(winners, np.int64), device=at.device)
    owned = _owned(cells, places)
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        with torch.enable_grad(), masks_allowed(knockout.language.config):
            path = [
                (start + share * (end - start)).detach().requires_grad_()
                for start, end in zip(starts, ends, strict=True)
            ]
            states = given[name].flatten(0, -2).index_copy(0, at, path[0]).view(shape)
            more = {DEEP: path[1:]} if len(path) > 1 else {}
            found = model.network.rows(
                knockout.language(**given | {name: states} | more).last_hidden_state[:, keep]
            )
            cosines = (found[0][chosen] * asked).sum(-1)
            rows = []
            for cosine in cosines:
                slopes = torch.autograd.grad(cosine, path, retain_graph=True)
                parts = [
                    ((end - start) * slope).float().sum(-1)
                    for start, end, slope in zip(starts, ends, slopes, strict=True)
                ]
                rows.append(torch.stack(parts).sum(0).cpu().numpy())
        yield (np.stack(rows) @ owned)[None].astype(np.float32)


def _owned(cells: Cells, places: list[int]) -> FloatArray:
    """(m, n) float32: the share of each of m places in n cells; a place of several is divided among them."""
    row = {place: i for i, place in enumerate(places)}
    found = np.zeros((len(places), len(cells.words)), np.float32)
    for column, own in enumerate(cells.places):
        found[[row[place] for place in own], column] = 1
    return found / found.sum(1, keepdims=True)
