"""sentence-transformers' `MultiVectorEncoder`: its checkpoints as encoders here, and ours as one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.types import Embedding, FloatArray, Page, Query

from . import backbone, checkpoints
from .vlm import VLM

PAGE_LEVELS = (1, 3, 4, 8, 48)  # as many vectors as each budget adds to a page: 1, 4, 8, 16, 64
QUERY_LEVELS = (1, 1, 2, 4, 8)  # the same for a query: 1, 2, 4, 8, 16
BATCH = 4
ST_MODULES = "sentence_transformers.base.modules"
# The Transformer module: every input is one message.
TRANSFORMER = {
    "transformer_task": "feature-extraction",
    "modality_config": {
        kind: {"method": "forward", "method_output_name": "last_hidden_state"} for kind in ("text", "image")
    }
    | {
        "message": {"method": "forward", "method_output_name": "last_hidden_state", "format": "structured"},
    },
    "module_output_name": "token_embeddings",
}
MODEL = {
    "model_type": "MultiVectorEncoder",
    "prompts": {"query": "", "document": ""},
    "default_prompt_name": None,
    "similarity_fn_name": "maxsim",
}
# The prompt in Jinja: the kind of item picks a frame, the task picks the Meta Tokens.
TEMPLATE = """\
{%- set said = namespace(text='', pictured=false) -%}
{%- for message in messages -%}
{%- if message.content is string -%}{%- set said.text = said.text + message.content -%}
{%- else -%}{%- for part in message.content -%}
{%- if part.type == 'image' -%}{%- set said.pictured = true -%}
{%- elif part.type == 'text' -%}{%- set said.text = said.text + part.text -%}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endfor -%}
{%- set text = said.text | trim -%}
{%- if task is defined and task == 'query' -%}
{%- if said.pictured -%}QUERY_PICTURED{%- else -%}QUERY_TEXT{%- endif -%}QUERY_TOKENS
{%- else -%}
{%- if said.pictured -%}PAGE_PICTURED{%- else -%}PAGE_TEXT{%- endif -%}PAGE_TOKENS
{%- endif -%}"""


class MultiVector:
    """A `MultiVectorEncoder` as an encoder.

    One that gives every query, and every page, the same number of vectors (MetaEmbed models: 16 and 64,
    coarse to fine) is used as it is. One with a vector for each token or patch (ColBERT, ColPali, ColQwen) is
    pooled to the budgets, see `pooled`. That pooling is ours, so that such models can be compared here at
    equal cost; it is not part of them, and their own scores, with all vectors, may well be better.
    """

    def __init__(self, model: Any, name: str, fingerprint: str) -> None:
        """`model` is a MultiVectorEncoder; it is asked for four embeddings to learn what it gives."""
        self.model, self.name, self.fingerprint = model, name, fingerprint
        self.device = torch.device(model.device).type.upper()
        self._one = Lock()  # tokenizers serve one thread at a time
        self.reads_pictures = bool({"image", "message"} & set(model.modalities))
        queries = self._vectors(["short", "a longer text than that"], of_queries=True)
        sizes = ((64, 64), (160, 90))
        pictures = [Image.new("RGB", size, "white") for size in sizes]
        pages = self._vectors(
            pictures if self.reads_pictures else ["short", "a longer text"], of_queries=False
        )
        counts = {len(vectors) for vectors in queries}, {len(vectors) for vectors in pages}
        self.constant = all(len(count) == 1 for count in counts)
        self.r_q, self.r_c = (len(queries[0]), len(pages[0])) if self.constant else BUDGETS[-1]
        self.dim = int(pages[0].shape[1])

    @classmethod
    def load(cls, folder: Path, name: str) -> MultiVector:
        """From a folder with modules.json that `checkpoints.refuse_unsafe` has let pass."""
        backbone.need("sentence_transformers", "A MultiVectorEncoder checkpoint")
        from sentence_transformers import MultiVectorEncoder

        backbone.do_without_video()
        model = MultiVectorEncoder(
            str(folder),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        digest = hashlib.sha256(f"{checkpoints.identity(folder)} {PAGE_LEVELS} {QUERY_LEVELS}".encode())
        for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.jinja")]):
            digest.update(path.read_bytes())
        return cls(model, name.rstrip("/").rsplit("/", 1)[-1], f"mve-{digest.hexdigest()[:16]}")

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (r_c, dim) embedding a page, from its picture where the model reads pictures, else its text."""
        inputs = [page.image if page.image and self.reads_pictures else page.text for page in pages]
        return self._embeddings(inputs, of_queries=False)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (r_q, dim) embedding a query. Raises ValueError on a picture that the model cannot read."""
        return self._embeddings([self._input(query) for query in queries], of_queries=True)

    def _input(self, query: Query) -> Any:
        if query.image is None:
            return query.text
        if not self.reads_pictures:
            raise ValueError(f"{self.name} reads only text; ask in words.")
        return {"image": query.image, "text": query.text} if query.text.strip() else query.image

    def _embeddings(self, inputs: Sequence[Any], of_queries: bool) -> list[Embedding]:
        found = self._vectors(inputs, of_queries)
        if not self.constant:
            found = [pooled(vectors, QUERY_LEVELS if of_queries else PAGE_LEVELS) for vectors in found]
        return [Embedding(_unit(vectors)) for vectors in found]

    def _vectors(self, inputs: Sequence[Any], of_queries: bool) -> list[FloatArray]:
        """What the model gives: (n, dim) float32 for each input."""
        encode = self.model.encode_query if of_queries else self.model.encode_document
        kinds = [str(type(item)) for item in inputs]
        found: dict[int, FloatArray] = {}
        for kind in dict.fromkeys(kinds):  # each by itself: not every model takes a mixed batch
            rows = [i for i, other in enumerate(kinds) if other == kind]
            with self._one:
                vectors = encode([inputs[i] for i in rows], batch_size=BATCH, show_progress_bar=False)
            found |= {i: v.float().cpu().numpy() for i, v in zip(rows, vectors, strict=True)}
        return [found[i] for i in range(len(inputs))]


def pooled(vectors: FloatArray, levels: Sequence[int]) -> FloatArray:
    """(n, D) unit rows, one a token, to (sum of levels, D) unit rows, coarse to fine.

    Each level covers the whole: its k vectors are the means of k clusters (average linkage on cosines), the
    largest first; the first level is the mean of all. So a budget, which is made of whole levels, always
    stands for all tokens. Where there are fewer than k distinct tokens they repeat, the largest clusters the
    most: a page's repeats change no MaxSim, and a query's keep its sum about in proportion.

    >>> (pooled(np.eye(2, dtype=np.float32), (1, 2)) * 100).astype(int).tolist()
    [[70, 70], [100, 0], [0, 100]]
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    vectors = _unit(vectors)
    tree = linkage(vectors, "average", metric="cosine") if len(vectors) > 1 else None
    rows = []
    for k in levels:
        labels = np.ones(len(vectors), int) if tree is None or k == 1 else fcluster(tree, k, "maxclust")
        names, sizes = np.unique(labels, return_counts=True)
        means = [vectors[labels == name].mean(0) for name in names[np.argsort(-sizes, kind="stable")]]
        rows += [means[i % len(means)] for i in range(k)]
    return _unit(np.stack(rows))


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)


def export_multi_vector(vlm: VLM, folder: str | Path) -> None:
    """Write `vlm` as a folder that sentence-transformers (6.2 or newer) loads by itself, with equal vectors.

    The Meta Tokens come from the chat template, which sees the task: `encode_query` gets a query's,
    `encode_document` a page's. All other tokens are masked out of the score by a skip list that is the whole
    vocabulary but them: for queries the built-in mask knows no list of tokens to keep. LoRA is merged into
    `vlm` itself. Special tokens in a text and its length are limited only here, not there.

    Raises:
        ValueError: when the backbone cannot be expressed so, or its weights are quantised.
    """
    backbone.need("sentence_transformers", "Exporting a MultiVectorEncoder")
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    _check_expressible(vlm)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.merge(vlm).save_pretrained(folder)
    _save_processor(vlm, folder)
    parts: list[Any] = []
    if (linear := vlm.network.projection) is not None:
        dense = Dense(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            activation_function=None,
            module_input_name="token_embeddings",
        )
        dense.linear.load_state_dict(linear.state_dict())
        parts.append(dense)
    parts += [MultiVectorMask(**kept) for kept in _masks(vlm)]
    parts.append(Normalize(module_input_name="token_embeddings"))
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{ST_MODULES}.transformer.Transformer"}]
    for i, part in enumerate(parts, 1):
        path = f"{i}_{type(part).__name__}"
        (folder / path).mkdir(exist_ok=True)
        part.save(str(folder / path))
        kind = f"{type(part).__module__}.{type(part).__name__}"
        modules.append({"idx": i, "name": str(i), "path": path, "type": kind})
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", TRANSFORMER | {"processing_kwargs": {"text": _text(vlm)}})
    _write(folder / "config_sentence_transformers.json", MODEL)


def _check_expressible(vlm: VLM) -> None:
    if not (vlm.processor.chat_template or vlm.processor.tokenizer.chat_template):
        raise ValueError(
            f"{vlm.name} cannot become a MultiVectorEncoder: its processor has no chat template and writes a "
            "line break after the prompt, so that Meta Tokens could not be its end. Save it with save_vlm."
        )
    if vlm.settings.quantization:
        raise ValueError(
            "Quantised weights cannot be exported. Unset METAEMBED_VLM_QUANTIZATION and load again."
        )


def _text(vlm: VLM) -> dict[str, Any]:
    """How a rendered prompt becomes tokens: as it stands, <bos> is in it."""
    bos = vlm.processor.tokenizer.bos_token
    if bos and all(frame.before.startswith(bos) for frame in vlm.reader.frames.values()):
        return {"padding_side": "left"}  # transformers sees <bos>, and takes no second word about it
    return {"padding_side": "left", "add_special_tokens": False}


def _save_processor(vlm: VLM, folder: Path) -> None:
    """With a chat template that is our frames, written out."""
    reader, kinds = vlm.reader, {"QUERY": True, "PAGE": False}
    template = TEMPLATE
    for name, of_queries in kinds.items():
        for kind, pictured in (("PICTURED", True), ("TEXT", False)):
            frame = reader.frames[of_queries, pictured]
            # Jinja reads a string's ASCII form (!a) as Python does. A page's picture has no text.
            text = "" if pictured and not of_queries else "{{ text }}"
            written = f"{{{{ {frame.before!a} }}}}{text}{{{{ {frame.after!a} }}}}"
            template = template.replace(f"{name}_{kind}", written)
        tokens = vlm.meta(of_queries)
        template = template.replace(
            f"{name}_TOKENS", "".join(vlm.processor.tokenizer.convert_ids_to_tokens(tokens))
        )
    known = vlm.processor.chat_template
    vlm.processor.chat_template = template
    try:
        vlm.processor.save_pretrained(folder)
    finally:
        vlm.processor.chat_template = known


def _masks(vlm: VLM) -> list[dict[str, Any]]:
    """What `MultiVectorMask` modules, one after another, have to keep."""
    ours = {*vlm.query_ids, *vlm.page_ids}
    others = [token for token, i in vlm.processor.tokenizer.get_vocab().items() if i not in ours]
    masks: list[dict[str, Any]] = [
        {"skiplist_words": sorted(others), "skiplist_tasks": ["query", "document"]}
    ]
    if vlm.manifest.both:  # queries carry page tokens too, and the other way round
        pages = vlm.processor.tokenizer.convert_ids_to_tokens(vlm.page_ids)
        masks.append(
            {"skiplist_words": pages, "skiplist_tasks": ["query"], "keep_only_token_ids": vlm.page_ids}
        )
    return masks


def _write(path: Path, said: Any) -> None:
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
