"""Export to sentence-transformers' MultiVectorEncoder, and to PyLate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from . import backbone
from .encoder import VLM
from .multi_vector_checkpoints import NESTED
from .prompts import KINDS, TEXT

ST_MODULES = "sentence_transformers.base.modules"
# The Transformer module reads every input as one message.
TRANSFORMER = {
    "transformer_task": "feature-extraction",
    "modality_config": {
        modality: {"method": "forward", "method_output_name": "last_hidden_state"}
        for modality in ("text", "image")
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
MODULE = Path(__file__).with_name("pylate_module.py")
LONGEST = 1 << 20  # tokens, beyond any model's
PYLATE: dict[str, Any] = {
    "model_type": "ColBERT",
    "prompts": {},
    "default_prompt_name": None,
    "similarity_fn_name": "MaxSim",
    "query_prefix": "",
    "document_prefix": "",
    "do_query_expansion": False,
    "attend_to_expansion_tokens": False,
    "skiplist_words": [],
}
# The prompt in Jinja: the input's modality selects the frame, the task selects the Meta Tokens.
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
QUERY_FRAME
{%- else -%}
CANDIDATE_FRAME
{%- endif -%}"""


def export_multi_vector(vlm: VLM, folder: str | Path) -> None:
    """Write `vlm` as a folder that sentence-transformers (6.2 or newer) loads, with equal vectors.

    The chat template appends the Meta Tokens by task: `encode_query` or `encode_document`. All other tokens
    are masked by a skip list of the rest of the vocabulary, since the built-in query mask has no keep list.
    LoRA is merged into `vlm` itself. The exported model neither strips special tokens from texts nor limits
    their length.

    Raises:
        ValueError: when the backbone cannot be exported, or its weights are quantised.
    """
    backbone.require_package("sentence_transformers", "Exporting a MultiVectorEncoder")
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    _check_expressible(vlm)
    folder = Path(folder)
    _save_model(vlm, folder)
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
        class_path = f"{type(part).__module__}.{type(part).__name__}"
        modules.append({"idx": i, "name": str(i), "path": path, "type": class_path})
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", TRANSFORMER | {"processing_kwargs": {"text": _text(vlm)}})
    _write(folder / "config_sentence_transformers.json", MODEL | {NESTED: vlm.budgets.pairs})


def export_pylate(vlm: VLM, folder: str | Path) -> None:
    """Write `vlm` as a folder that PyLate (1.6, on sentence-transformers 5.3) opens, with equal vectors.

    PyLate keeps all tokens of a query, so the folder has a module of its own that keeps the Meta Tokens alone
    (pylate_module.py, copied there). PyLate runs the code of a local folder; from the hub it takes
    `trust_remote_code`. Queries and documents may be pictures. LoRA is merged into `vlm` itself.

    Raises:
        ValueError: when the backbone cannot be exported, or its weights are quantised.
    """
    _check_expressible(vlm)
    folder = Path(folder)
    _save_model(vlm, folder)
    shutil.copy(MODULE, folder)
    linear = vlm.network.projection
    tensors = (
        {"linear.weight": torch.eye(vlm.dim)}
        if linear is None
        else {f"linear.{name}": value.contiguous() for name, value in linear.state_dict().items()}
    )
    out, into = tensors["linear.weight"].shape
    dense = {"in_features": into, "out_features": out, "bias": len(tensors) == 2}
    (folder / "1_Dense").mkdir(exist_ok=True)
    save_file(tensors, folder / "1_Dense" / "model.safetensors")
    _write(folder / "1_Dense" / "config.json", dense | {"activation_function": "torch.nn.Identity"})
    kinds = [("", f"{MODULE.stem}.MetaTokens"), ("1_Dense", "sentence_transformers.models.Dense")]
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(kinds)]
    _write(folder / "modules.json", modules)
    kept = {"query_tokens": vlm.query_ids, "document_tokens": vlm.page_ids}
    _write(folder / "sentence_bert_config.json", kept)
    # An empty prefix inserts no token. The lengths tell the module what it reads; it cuts nothing off.
    lengths = {"query_length": vlm.r_q, "document_length": LONGEST}
    _write(folder / "config_sentence_transformers.json", PYLATE | lengths | {NESTED: vlm.budgets.pairs})


def _save_model(vlm: VLM, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vlm.merge().save_pretrained(folder)
    _save_processor(vlm, folder)


def _check_expressible(vlm: VLM) -> None:
    if not (vlm.processor.chat_template or vlm.processor.tokenizer.chat_template):
        raise ValueError(
            f"{vlm.name} cannot be exported as a MultiVectorEncoder: its processor has no chat template and "
            "ends prompts with a line break, so Meta Tokens cannot come last. Save it with save_vlm."
        )
    if vlm.settings.quantization:
        raise ValueError(
            "Quantised weights cannot be exported. Unset METAEMBED_VLM_QUANTIZATION and load again."
        )


def _text(vlm: VLM) -> dict[str, Any]:
    """Tokenizer options for rendered prompts, which already contain <bos>."""
    bos = vlm.processor.tokenizer.bos_token
    written = [frame for frames in vlm.reader.frames.values() for frame in frames.values()]
    if bos and all(frame.startswith(bos) for frame in written):
        return {"padding_side": "left"}  # transformers detects <bos> and rejects add_special_tokens
    return {"padding_side": "left", "add_special_tokens": False}


def _save_processor(vlm: VLM, folder: Path) -> None:
    """Save the processor with a chat template that renders our frames."""
    template = TEMPLATE
    for side, frames in vlm.reader.frames.items():
        text, image, both = (_jinja(frames[kind]) for kind in KINDS)
        tokens = vlm.processor.tokenizer.convert_ids_to_tokens(vlm.meta(side == "query"))
        chosen = ("{%- if not said.pictured -%}", text, "{%- elif text -%}", both, "{%- else -%}", image)
        written = "".join([*chosen, "{%- endif -%}", *tokens])
        template = template.replace(f"{side.upper()}_FRAME", written)
    known = vlm.processor.chat_template
    vlm.processor.chat_template = template
    try:
        backbone.save_processor(vlm.processor, folder)
    finally:
        vlm.processor.chat_template = known


def _jinja(frame: str) -> str:
    before, mark, after = frame.partition(TEXT)
    # Jinja parses the ASCII form (!a) of a string as Python does.
    return f"{{{{ {before!a} }}}}{'{{ text }}' if mark else ''}{{{{ {after!a} }}}}"


def _masks(vlm: VLM) -> list[dict[str, Any]]:
    """Arguments of successive `MultiVectorMask` modules."""
    ours = {*vlm.query_ids, *vlm.page_ids}
    others = [token for token, i in vlm.processor.tokenizer.get_vocab().items() if i not in ours]
    masks: list[dict[str, Any]] = [
        {"skiplist_words": sorted(others), "skiplist_tasks": ["query", "document"]}
    ]
    if vlm.manifest.both:  # every input has query and page tokens
        pages = vlm.processor.tokenizer.convert_ids_to_tokens(vlm.page_ids)
        masks.append(
            {"skiplist_words": pages, "skiplist_tasks": ["query"], "keep_only_token_ids": vlm.page_ids}
        )
    return masks


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
