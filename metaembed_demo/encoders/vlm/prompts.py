"""Prompts of a vision-language model: chat templates around pages and queries, with Meta Tokens appended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image

MARK = "\u27e6content\u27e7"  # placeholder for the text when rendering a frame
TODAY = "26 Jul 2024"  # fixed date for templates that print it, so vectors are reproducible
Inputs = dict[str, torch.Tensor]  # processor outputs, model inputs


@dataclass(frozen=True)
class Prompts:
    """Instruction with a page's image, and prefix of a query's text."""

    page: str = "Describe the image."
    query: str = "Query: "


@dataclass(frozen=True)
class Item:
    """A page or query as processor input: an image, text, or both."""

    text: str
    image: Image | None


@dataclass(frozen=True)
class Frame:
    """A rendered chat template, split at the text."""

    before: str
    after: str
    silent: bool = False  # the template drops text beside an image

    def around(self, text: str) -> str:
        return self.before + ("" if self.silent else text) + self.after


class Reader:
    """Items to processor inputs, on the CPU, with Meta Tokens at the end."""

    def __init__(self, processor: Any, prompts: Prompts, max_text_tokens: int) -> None:
        self.processor, self.prompts, self.max_text_tokens = processor, prompts, max_text_tokens
        self.frames = {
            (of_queries, pictured): self._frame(of_queries, pictured)
            for of_queries in (False, True)
            for pictured in (False, True)
        }
        special = [str(token) for token in processor.tokenizer.added_tokens_decoder.values() if token.special]
        self._special = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))

    def read(self, items: Sequence[Item], of_queries: bool, meta: Sequence[int]) -> Inputs:
        """Tensors for items that all have an image, or all have none; `meta` are Meta Token ids, in order.

        Rows are left-padded, so the last len(meta) positions are the Meta Tokens, whatever a processor adds
        after a prompt (PaliGemma: a line break).
        """
        pictured = items[0].image is not None
        frame = self.frames[of_queries, pictured]
        texts = [self._clean(item.text) for item in items]
        if pictured and not of_queries:  # the caption precedes the instruction on its own line
            texts = [f"{text}\n" if text else "" for text in texts]
        texts = [frame.around(text) for text in texts]
        kwargs: dict[str, Any] = {
            "padding": True,
            "padding_side": "left",
            "return_tensors": "pt",
            "add_special_tokens": False,  # already in the frame
        }
        if pictured:
            pictures = [[_picture(item.image)] for item in items if item.image is not None]
            read = self.processor(images=pictures, text=texts, **kwargs)
        else:
            typed = "token_type_ids" in self.processor.model_input_names
            read = self.processor.tokenizer(texts, return_token_type_ids=typed, **kwargs)
        inputs = {key: value for key, value in read.items() if isinstance(value, torch.Tensor)}
        inputs.pop("labels", None)  # PaliGemma's language-modelling labels
        return append(inputs, meta)

    def _clean(self, text: str) -> str:
        """Text without special tokens, which could pass for image or Meta Tokens, truncated."""
        text = self._special.sub(" ", text).strip()
        if len(text) <= self.max_text_tokens:  # a token is at least one character
            return text
        found = self.processor.tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=True,
            max_length=self.max_text_tokens,
        )
        return text[: found["offset_mapping"][-1][1]].strip()

    def _frame(self, of_queries: bool, pictured: bool) -> Frame:
        """The frame of queries or pages, with or without an image. A page image is followed by a prompt."""
        text = self.prompts.query + MARK if of_queries else MARK + self.prompts.page if pictured else MARK
        rendered = self._rendered(text, pictured)
        if MARK not in rendered:
            if not of_queries and pictured:
                return Frame(rendered, "", silent=True)
            raise ValueError("The chat template of this checkpoint drops the user's text.")
        before, after = rendered.split(MARK)
        return Frame(before, after)

    def _rendered(self, text: str, pictured: bool) -> str:
        """One user message rendered with the chat template, or in the processor's own format without one."""
        tokenizer = self.processor.tokenizer
        template = self.processor.chat_template or tokenizer.chat_template
        if not template:
            return self._own_format(text, pictured)
        content = [{"type": "image"}] * pictured + [{"type": "text", "text": text}]
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
            date_string=TODAY,
        )
        first = self._first_tokens()
        return rendered if rendered.startswith(first) else first + rendered

    def _own_format(self, text: str, pictured: bool) -> str:
        """PaliGemma: image, <bos>, text, line break; its processor adds <bos> and the line break."""
        if not pictured:
            return f"{self._first_tokens() or self.processor.tokenizer.bos_token or ''}{text}\n"
        if "PaliGemma" in type(self.processor).__name__:
            return f"{self.processor.image_token}{text}"
        return f"{self._first_tokens()}{self.processor.image_token}{text}\n"

    def _first_tokens(self) -> str:
        """Special tokens that the tokenizer prepends: <bos>, [CLS] or none."""
        tokenizer = self.processor.tokenizer
        whole, bare = tokenizer("a").input_ids, tokenizer("a", add_special_tokens=False).input_ids
        start = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        return "".join(tokenizer.convert_ids_to_tokens(whole[:start]))


def _picture(image: Image) -> Image:
    """RGB, with an aspect ratio of at most 100: Qwen's processor rejects 200."""
    wide, high = image.size
    size = max(wide, high // 100), max(high, wide // 100)
    return (image if size == image.size else image.resize(size)).convert("RGB")


def append(inputs: Inputs, meta: Sequence[int]) -> Inputs:
    """Append the tokens `meta` to every row: (B, T) to (B, T + len(meta)).

    They are text, not image tokens (mm_token_type_ids 0). PaliGemma attends bidirectionally within the prompt
    and causally after it; Meta Tokens belong to the causal part (token_type_ids 1). So in causal backbones
    neither the prompt nor earlier Meta Tokens depend on later ones. Cross-attention to the image (Mllama) is
    that of the prompt's last token.
    """
    rows, r = len(inputs["input_ids"]), len(meta)
    new = {
        "input_ids": torch.tensor(list(meta), dtype=torch.long).expand(rows, r),
        "attention_mask": torch.ones(rows, r, dtype=torch.long),
        "token_type_ids": torch.ones(rows, r, dtype=torch.long),
        "mm_token_type_ids": torch.zeros(rows, r, dtype=torch.long),
    }
    if (cross := inputs.get("cross_attention_mask")) is not None:
        new["cross_attention_mask"] = cross[:, -1:].expand(-1, r, -1, -1)
    return inputs | {
        key: torch.cat([inputs[key], end.to(inputs[key])], 1) for key, end in new.items() if key in inputs
    }
