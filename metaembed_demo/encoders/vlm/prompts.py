"""Prompts of a vision-language model: chat templates around pages and queries, with Meta Tokens appended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image

MARK = "\u27e6content\u27e7"  # placeholder for the text when rendering a frame
TEXT = "{text}"  # the same in a frame
SIDES, KINDS = ("query", "candidate"), ("text", "image", "both")
TODAY = "26 Jul 2024"  # fixed date for templates that print it, so vectors are reproducible
Inputs = dict[str, torch.Tensor]  # processor outputs, model inputs
# Prompts verbatim: side -> kind of item -> the prompt, with TEXT where the item's text stands.
Frames = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Prompts:
    """What frames are made of: an instruction with a page's image, and a prefix of a query's text."""

    page: str = "Describe the image."
    query: str = "Query: "
    generation: bool = False  # end with the chat template's generation prompt


@dataclass(frozen=True)
class Item:
    """A page or query as processor input: an image, text, or both."""

    text: str
    image: Image | None


def checked_frames(frames: Frames, where: str) -> Frames:
    """`frames` of the manifest `where`. Raises ValueError when one is missing or has no place for text."""
    for side in SIDES:
        for kind in KINDS:
            frame = frames.get(side, {}).get(kind)
            if not isinstance(frame, str):
                raise ValueError(f'{where}: "frames" has no {side}.{kind}; it takes {KINDS} of {SIDES}.')
            if kind == "text" and frame.count(TEXT) != 1:
                raise ValueError(f"{where}: the frame {side}.{kind} needs {TEXT} once: {frame!r}.")
    return frames


def reference_frames(prompts: Prompts) -> Frames:
    """The published reference's own frames on Qwen's backbones: one user message, and no system message."""
    start, end = "<|im_start|>user\n", "<|im_end|><|endoftext|>"
    seen = f"{start}<|vision_start|><|image_pad|><|vision_end|>"
    prefixes = (prompts.query, "")
    return {
        side: {
            "text": f"{start}{prefix}{TEXT}{end}",
            "image": f"{seen}{prefix}{prompts.page}{end}",
            "both": f"{seen}{prefix}{TEXT}{end}",
        }
        for side, prefix in zip(SIDES, prefixes, strict=True)
    }


def has_reference_tokens(processor: Any) -> bool:
    """Whether the tokenizer has all special tokens of `reference_frames`."""
    known = processor.tokenizer.get_vocab()
    return {
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|vision_start|>",
        "<|image_pad|>",
    } <= known.keys()


def around(frame: str, text: str) -> str:
    before, mark, after = frame.partition(TEXT)
    return before + (text if mark else "") + after


class Reader:
    """Items to processor inputs, on the CPU, with Meta Tokens at the end."""

    def __init__(
        self, processor: Any, prompts: Prompts, max_text_tokens: int, frames: Frames | None = None
    ) -> None:
        """frames: a checkpoint's, verbatim; by default made from the chat template and `prompts`."""
        self.processor, self.prompts, self.max_text_tokens = processor, prompts, max_text_tokens
        self.frames: Frames = frames or self._made_frames()
        special = [str(token) for token in processor.tokenizer.added_tokens_decoder.values() if token.special]
        self._special = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))

    def read(self, items: Sequence[Item], of_queries: bool, meta: Sequence[int]) -> Inputs:
        """Tensors for items that all have an image, or all have none; `meta` are Meta Token ids, in order.

        Rows are left-padded, so the last len(meta) positions are the Meta Tokens, whatever a processor adds
        after a prompt (PaliGemma: a line break).
        """
        pictured = items[0].image is not None
        texts = [around(self.frame(item, of_queries), self.clean(item.text)) for item in items]
        kwargs: dict[str, Any] = {
            "padding": True,
            "padding_side": "left",
            "return_tensors": "pt",
            "add_special_tokens": False,  # already in the frame
        }
        if pictured:
            pictures = [[picture_read(item.image)] for item in items if item.image is not None]
            read = self.processor(images=pictures, text=texts, **kwargs)
        else:
            typed = "token_type_ids" in self.processor.model_input_names
            read = self.processor.tokenizer(texts, return_token_type_ids=typed, **kwargs)
        inputs = {key: value for key, value in read.items() if isinstance(value, torch.Tensor)}
        inputs.pop("labels", None)  # PaliGemma's language-modelling labels
        return append(inputs, meta)

    def frame(self, item: Item, of_queries: bool) -> str:
        """The prompt of an item, with TEXT where its text stands, if it has any."""
        kind = "text" if item.image is None else "both" if self.clean(item.text) else "image"
        return self.frames["query" if of_queries else "candidate"][kind]

    def length(self, query: str) -> int:
        """Tokens of the prompt of a query in words."""
        prompt = around(self.frames["query"]["text"], self.clean(query))
        return len(self.processor.tokenizer(prompt, add_special_tokens=False).input_ids)

    def clean(self, text: str) -> str:
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

    def _made_frames(self) -> Frames:
        """A page's image is followed by the instruction, and preceded by its caption on a line of its own."""
        query, page = self.prompts.query + MARK, MARK + self.prompts.page
        frames: dict[str, dict[str, str]] = {}
        for side, text, pictured in zip(SIDES, (query, MARK), (query, page), strict=True):
            said, seen = self._rendered(text, False), self._rendered(pictured, True)
            if MARK not in said or (MARK not in seen and side == "query"):
                raise ValueError("The chat template of this checkpoint drops the user's text.")
            caption = TEXT if side == "query" else f"{TEXT}\n"
            frames[side] = {
                "text": said.replace(MARK, TEXT),
                "image": seen.replace(MARK, ""),
                "both": seen.replace(MARK, caption),  # without text where a template drops it beside an image
            }
        return frames

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
            add_generation_prompt=self.prompts.generation,
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


def picture_read(image: Image) -> Image:
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
