"""The first module of a checkpoint that PyLate opens: `export_pylate` copies this file into its folder.

It needs what PyLate needs (sentence-transformers 5, transformers) and nothing of this project. PyLate has no
module that masks: it keeps all tokens of a query. So this one renders the prompt, runs the backbone, and
gives the states of the Meta Tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from sentence_transformers.models import Transformer
from transformers import AutoProcessor


class MetaTokens(Transformer):
    """A backbone that gives r_q states of a query and r_c of a document, in place of one a token."""

    def __init__(
        self,
        model_name_or_path: str,
        *args: Any,
        query_tokens: Sequence[int],
        document_tokens: Sequence[int],
        **kwargs: Any,
    ) -> None:
        """query_tokens, document_tokens: ids of the Meta Tokens kept, from sentence_bert_config.json."""
        super().__init__(model_name_or_path, *args, **kwargs)
        self.folder = model_name_or_path
        self.kept = {"query": list(query_tokens), "document": list(document_tokens)}

    @cached_property
    def processor(self) -> Any:
        """Made when the first picture comes: some processors need torchvision."""
        return AutoProcessor.from_pretrained(self.folder)

    def tokenize(self, texts: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
        """Texts, pictures, or {"text": text, "image": picture}; in one call all have a picture or none has.

        PyLate says that these are queries by nothing but the length that it allows.
        """
        task = "query" if self.max_seq_length == len(self.kept["query"]) else "document"
        items = [_parts(item) for item in texts]
        content = [[{"type": kind, kind: value} for kind, value in parts.items()] for parts in items]
        render = self.tokenizer.apply_chat_template
        prompts = [render([{"role": "user", "content": each}], tokenize=False, task=task) for each in content]
        given: dict[str, Any] = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
        given["add_special_tokens"] = False  # already in the prompt
        if pictures := [[parts["image"]] for parts in items if "image" in parts]:
            read = self.processor(text=prompts, images=pictures, **given)
        else:
            read = self.tokenizer(prompts, **given)
        return {**read, "task": task}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds `token_embeddings` (B, r, hidden); ids and mask become those of the r Meta Tokens."""
        kept = torch.tensor(self.kept[features["task"]], device=features["input_ids"].device)
        at = torch.isin(features["input_ids"], kept)
        features = super().forward(features, **kwargs)
        shape = (len(at), len(kept))
        features["token_embeddings"] = features["token_embeddings"][at].view(*shape, -1)
        features["input_ids"] = features["input_ids"][at].view(shape)
        features["attention_mask"] = torch.ones_like(features["input_ids"])
        return features


def _parts(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"text": item}
    parts = item if isinstance(item, dict) else {"image": item}
    return {kind: parts[kind] for kind in ("image", "text") if parts.get(kind)}
