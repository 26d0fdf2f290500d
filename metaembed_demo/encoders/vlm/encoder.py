"""MetaEmbed on a vision-language model: Qwen2-VL, Qwen2.5-VL, Qwen3-VL, PaliGemma, Mllama, Idefics3, SmolVLM
and ModernVBERT, with one class.

Meta Tokens are special tokens appended to the prompt. Their last-layer states, projected if the checkpoint
has a projection, and L2-normalised, are the embedding (paper, section 3.1). No forward is patched; position
ids, M-RoPE included, are left to the model. In causal backbones the first r vectors do not depend on later
Meta Tokens. ModernVBERT is bidirectional: there a smaller budget is a prefix of the full encoding, as in MMR
training, and differs from encoding with fewer Meta Tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from threading import Lock
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.core.config import Vlm
from metaembed_demo.core.types import Box, Embedding, FloatArray, Page, Query, Similarity

from . import backbone, evidence, zero_gpu
from .backbone import R_C, R_Q, RANK
from .cells import Cells, picture_cells, text_cells
from .manifest import Manifest
from .prompts import Inputs, Item, Prompts, Reader, picture_read

CPU_BATCH = 4
MAX_BATCH = 32
RESOLUTIONS = (256, 576, 768, 1024, 1280)  # selectable maxima of visual tokens per page
SHARE = 0.5  # of the free GPU memory planned for a batch


class Network(nn.Module):
    """Backbone and projection."""

    model: Any  # a transformers model, possibly wrapped by PEFT
    projection: nn.Linear | None

    def __init__(self, model: Any, projection: nn.Linear | None) -> None:
        super().__init__()
        self.model, self.projection = model, projection

    def train(self, mode: bool = True) -> Network:
        """Set training mode; in eval mode the trained rows are merged into the embedding table."""
        super().train(mode)
        backbone.merge_token_rows(self.model, not mode)
        return self

    def forward(self, inputs: Inputs, keep: slice) -> torch.Tensor:
        """(B, r, dim) float32 unit rows at the positions `keep`."""
        return self.rows(self.model(**inputs, use_cache=False).last_hidden_state[:, keep])

    def rows(self, states: torch.Tensor) -> torch.Tensor:
        """(B, r, dim) float32 unit rows of last-layer states (B, r, hidden)."""
        if self.projection is not None:
            states = self.projection(states.to(self.projection.weight))
        return F.normalize(states.float(), dim=-1)


class VLM(evidence.ByKnockout):
    """An encoder on any supported backbone. Thread-safe.

    `network` is an ordinary torch module; see `vectors` for training. The fingerprint is computed once, from
    the initial weights.
    """

    similarity: Similarity = "MaxSim"

    def __init__(
        self,
        model: Any,
        processor: Any,
        projection: nn.Linear | None,
        manifest: Manifest,
        identity: str = "",
        settings: Vlm = SETTINGS,
    ) -> None:
        """`identity` identifies the weights; empty: a hash of the trainable ones."""
        self.network = Network(model, projection).eval()
        if zero_gpu.active():
            self.network.to("cuda")
        elif projection is not None:
            projection.to(self._device())
        self.processor, self.manifest, self.settings = processor, manifest, settings
        self.max_visual_tokens = backbone.limit_resolution(processor, settings.max_visual_tokens)
        kept = {backbone.limit_resolution(_own_resolution(processor), tokens) for tokens in RESOLUTIONS}
        # Valid arguments of `at`; empty when the checkpoint has one resolution.
        self.resolutions = tuple(sorted(tokens for tokens in kept if tokens < self.max_visual_tokens))
        self.reader = Reader(processor, manifest.prompts, settings.max_text_tokens, manifest.frames)
        self.r_q, self.r_c, self.budgets = manifest.r_q, manifest.r_c, manifest.nested
        self.dim = manifest.projection or int(model.config.get_text_config().hidden_size)
        self.name = f"MetaEmbed on {manifest.backbone.rstrip('/').rsplit('/', 1)[-1]}"
        self.device = self._device().type.upper()
        self._identity = identity or trained(self.network)
        self.fingerprint = self._fingerprint()
        self._run = zero_gpu.lent(self._unless_out_of_memory, lambda inputs, keep: len(inputs["input_ids"]))
        self.all_passes = zero_gpu.lent(self._all_passes, evidence.items_of)
        self.lock = Lock()  # tokenizers are not thread-safe, and batches share GPU memory
        to_ids = processor.tokenizer.convert_tokens_to_ids
        self.query_ids: list[int] = to_ids(backbone.query_tokens(self.r_q))
        self.page_ids: list[int] = to_ids(backbone.page_tokens(self.r_c))

    def at(self, tokens: int) -> VLM:
        """An encoder with the same weights and at most `tokens` visual tokens per page.

        Raises:
            ValueError: when `tokens` is not in `resolutions`.
        """
        if tokens not in self.resolutions:
            raise ValueError(
                f"{self.name} cannot read pages at {tokens} visual tokens. "
                f"It can at {', '.join(map(str, self.resolutions)) or 'one resolution only'}."
            )
        view = copy(self)  # shares network, lock and tokenizer
        view.settings = self.settings.model_copy(update={"max_visual_tokens": tokens})
        view.processor = _own_resolution(self.processor)
        view.max_visual_tokens = backbone.limit_resolution(view.processor, tokens)
        view.reader = copy(self.reader)
        view.reader.processor = view.processor
        view.fingerprint = view._fingerprint()
        return view

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (r_c, dim) embedding per page, from its image, or from its text if it has none."""
        return self.embed([Item("" if page.image else page.text, page.image) for page in pages], False)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (r_q, dim) embedding per query, from its text, its image, or both."""
        return self.embed([Item(query.text, query.image) for query in queries], True)

    def embed(self, items: Sequence[Item], of_queries: bool, r: int | None = None) -> list[Embedding]:
        """One embedding per item, in order; of the first `r` Meta Tokens only, if given.

        Raises:
            RuntimeError: when a single item does not fit in GPU memory.
        """
        found: dict[int, Embedding] = {}
        for pictured in (False, True):  # separate prompts
            rows = [i for i, item in enumerate(items) if (item.image is not None) == pictured]
            rows.sort(key=lambda i: _length(items[i]))  # similar lengths need little padding
            for group in self._unpadded(items, rows) if of_queries else [rows]:
                for batch, vectors in self._batches(items, group, of_queries, r):
                    found |= {i: Embedding(vectors[k].copy()) for k, i in enumerate(batch)}
        return [found[i] for i in range(len(items))]

    def _unpadded(self, items: Sequence[Item], rows: Sequence[int]) -> list[list[int]]:
        """`rows` of queries in groups that need no padding, which changes vectors in bfloat16.

        Texts of equal length; pictures one by one.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        with self.lock:
            for i in rows:
                alone = i if items[i].image is not None else -1
                groups.setdefault((alone, self.reader.length(items[i].text)), []).append(i)
        return list(groups.values())

    def merge(self) -> Any:
        """LoRA and Meta Tokens written into the backbone, in place; the transformers model that it becomes.

        Raises:
            ValueError: when the weights are quantised.
        """
        if self.settings.quantization:
            raise ValueError(
                "Quantised weights cannot be merged. Unset METAEMBED_VLM_QUANTIZATION and load again."
            )
        self.network.model = backbone.merged(self.network.model)
        return self.network.model

    def inputs(self, items: Sequence[Item], of_queries: bool, r: int | None = None) -> tuple[Inputs, slice]:
        """Processor inputs, and the positions of the Meta Tokens; all items have an image, or none does."""
        meta, keep = self._meta(of_queries, r)
        return self.reader.read(items, of_queries, meta), keep

    def vectors(self, items: Sequence[Item], of_queries: bool) -> torch.Tensor:
        """(B, r, dim) unit rows with gradients, for training; all items have an image, or none does."""
        if torch.is_grad_enabled():  # merged rows get no gradients
            backbone.merge_token_rows(self.network.model, False)
        inputs, keep = self.inputs(items, of_queries)
        return self.network(self.placed(inputs), keep)

    def meta(self, of_queries: bool) -> list[int]:
        """Ids of the Meta Tokens appended to a query or page, in order."""
        return self._meta(of_queries, None)[0]

    def _meta(self, of_queries: bool, r: int | None) -> tuple[list[int], slice]:
        """Meta Token ids to append, and the slice of positions, from the end, to keep."""
        ids = (self.query_ids if of_queries else self.page_ids)[:r]
        if not self.manifest.both:
            return ids, slice(-len(ids), None)
        if of_queries:
            return self.query_ids + self.page_ids, slice(-self.r_q - self.r_c, len(ids) - self.r_q - self.r_c)
        return self.query_ids + ids, slice(-len(ids), None)

    def _batches(
        self, items: Sequence[Item], rows: Sequence[int], of_queries: bool, r: int | None
    ) -> Iterator[tuple[Sequence[int], FloatArray]]:
        """Batches of `rows` and their vectors (B, r, dim); halves the batch when out of memory."""
        size, start = self._batch_size(items[rows[-1]]) if rows else 1, 0
        while start < len(rows):
            batch = rows[start : start + size]
            with self.lock:
                inputs, keep = self.inputs([items[i] for i in batch], of_queries, r)
                vectors = self._run(inputs, keep)
            if vectors is not None:
                yield batch, vectors
                start += len(batch)
            elif len(batch) > 1:
                size = len(batch) // 2
            else:
                raise RuntimeError(
                    "One page does not fit in the GPU's memory. Lower METAEMBED_VLM_MAX_VISUAL_TOKENS "
                    f"(now {self.max_visual_tokens}) or set METAEMBED_VLM_QUANTIZATION=4bit."
                )

    def _unless_out_of_memory(self, inputs: Inputs, keep: slice) -> FloatArray | None:
        """(B, r, dim) float32, or None when out of memory."""
        try:
            with torch.inference_mode():
                vectors: FloatArray = self.network(self.placed(inputs), keep).cpu().numpy()
            return vectors
        except torch.OutOfMemoryError:
            pass  # the exception's frames hold the memory, so free it outside this block
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def taken(self, item: Item, of_queries: bool, boxes: Sequence[Box]) -> tuple[Inputs, slice, Cells]:
        """Inputs of one item, the positions of its Meta Tokens, and its cells or words."""
        with self.lock:
            inputs, keep = self.inputs([item], of_queries)
        if item.image is None or of_queries:
            frame = self.reader.frame(item, of_queries)
            return inputs, keep, text_cells(self.reader, frame, item.text, inputs, boxes)
        size, most = picture_read(item.image).size, evidence.most_cells(self.device)
        return inputs, keep, picture_cells(self.processor, self.network.model.config, inputs, size, most)

    def _all_passes(self, run: Any, *given: Any) -> list[FloatArray]:
        return list(run(self, *given))

    def placed(self, inputs: Inputs) -> Inputs:
        """`inputs` on the model's device; floating-point tensors in its dtype."""
        dtype = self.network.model.dtype if hasattr(self.network.model, "dtype") else torch.float32
        return {
            key: value.to(self._device(), dtype if value.is_floating_point() else None)
            for key, value in inputs.items()
        }

    def _device(self) -> torch.device:
        found: torch.device = backbone.input_embedding(self.network.model).weight.device
        return found

    def _batch_size(self, largest: Item) -> int:
        if self.settings.batch > 0:
            return self.settings.batch
        if self.device != "CUDA":
            return CPU_BATCH
        free, total = torch.cuda.mem_get_info()
        if zero_gpu.active():  # the weights are in memory only while a GPU is lent
            free = zero_gpu.free_bytes(total, self.network)
        return int(min(max(free * SHARE // self.bytes_for(largest), 1), MAX_BATCH))

    def bytes_for(self, item: Item) -> int:
        """Upper estimate of a forward pass's memory for one item in bytes, without the weights.

        Without gradients a transformer layer holds about 8 hidden and 3 MLP rows per position. Positions: in
        the language model the visual tokens, the prompt and the Meta Tokens; in the vision tower up to 16
        patches per visual token.
        """
        config = self.network.model.config
        text, vision = config.get_text_config(), config.vision_config
        visual = self._visual_tokens(item)
        patches = 16 * visual
        if item.image is not None and hasattr(vision, "max_num_tiles"):  # Mllama's, outside the sequence
            patches = vision.max_num_tiles * ((vision.image_size // vision.patch_size) ** 2 + 1)
        words = min(len(item.text), self.settings.max_text_tokens)
        rows = (visual + words + 64 + self.r_q + self.r_c) * _width(text) + patches * _width(vision)
        return rows * (4 if self.device == "CPU" else 2)

    def _visual_tokens(self, item: Item) -> int:
        """Upper bound of this image's visual tokens; fewer for small images with dynamic resolution."""
        if item.image is None:
            return 0
        image = self.processor.image_processor
        if not hasattr(image, "merge_size"):
            return self.max_visual_tokens
        side = image.patch_size * image.merge_size
        area = item.image.width * item.image.height
        return min(self.max_visual_tokens, max(area, image.size["shortest_edge"]) // side**2 + 1)

    def _fingerprint(self) -> str:
        """A hash, 16 hex digits, of everything the vectors depend on."""
        state = {
            "weights": self._identity,
            "manifest": self.manifest.of_vectors(),
            "frames": self.reader.frames,
            "image": self.processor.image_processor.to_json_string(),
            "text": self.settings.max_text_tokens,
            "numerics": backbone.numerics(self.network.model, self.processor),
            "quantization": self.settings.quantization,
            "merged": not hasattr(self.network.model, "peft_config"),
        }
        return f"vlm-{hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]}"


def create(
    model: Any,
    processor: Any,
    name: str,
    *,
    revision: str | None = None,
    r_q: int = R_Q,
    r_c: int = R_C,
    projection: int | None = None,
    bias: bool = False,
    rank: int = RANK,
    both: bool = False,
    prompts: Prompts = Prompts(),  # noqa: B008
    budgets: Sequence[Sequence[int]] = (),
    settings: Vlm = SETTINGS,
) -> VLM:
    """A fresh backbone with Meta Tokens and LoRA, ready to train (paper, section 3.1 and appendix).

    model: a base model from AutoModel; changed in place, as is `processor`.
    name: the model's hub id or folder, which adapter checkpoints refer to.
    both: append the Meta Tokens of queries and of pages to every input, as the published reference does.
    budgets: (r_q, r_c) pairs to be trained, smallest first; empty: ours, clipped.
    Trainable: LoRA on the language model's linear layers, the Meta Token embeddings and the projection.

    Raises:
        ValueError: when PEFT is not installed, or the backbone's language model is not found, or
            `budgets` are none.
    """
    processor.tokenizer.padding_side = "left"
    targets = backbone.lora_targets(model)
    backbone.add_meta_tokens(model, processor, r_q, r_c)
    ids = processor.tokenizer.convert_tokens_to_ids(backbone.query_tokens(r_q) + backbone.page_tokens(r_c))
    wrapped = backbone.with_lora(model, ids, rank, rank, targets, name)
    linear = (
        None
        if projection is None
        else nn.Linear(model.config.get_text_config().hidden_size, projection, bias)
    )
    manifest = Manifest(name, revision, r_q, r_c, projection, bias, both, prompts, budgets=budgets)
    return VLM(wrapped, processor, linear, manifest, settings=settings)


def trained(network: nn.Module) -> str:
    """A hash of the trainable weights, which distinguish checkpoints on one backbone."""
    digest = hashlib.sha256()
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            digest.update(name.encode())
            digest.update(weight.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _own_resolution(processor: Any) -> Any:
    """A copy of the processor with an independent image processor."""
    found = copy(processor)
    found.image_processor = deepcopy(processor.image_processor)
    return found


def _length(item: Item) -> int:
    return len(item.text) + (item.image.width * item.image.height if item.image else 0)


def _width(config: Any) -> int:
    hidden = int(getattr(config, "hidden_size", 0) or getattr(config, "embed_dim", 0))
    return 8 * hidden + 3 * int(getattr(config, "intermediate_size", 0) or 4 * hidden)
