"""What a vision-language model reads: one prompt for a page or query, and the Meta Tokens after its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image

MARK = "\u27e6content\u27e7"  # stands for the text while a prompt's frame is made
TODAY = "26 Jul 2024"  # for templates that print the date: vectors must not change overnight
Inputs = dict[str, torch.Tensor]  # what the processor gives and the model takes


@dataclass(frozen=True)
class Prompts:
    """What is said around a page's picture and before a query's text."""

    page: str = "Describe the image."
    query: str = "Query: "


@dataclass(frozen=True)
class Item:
    """A page or a query as the processor takes it: a picture, text, or both."""

    text: str
    image: Image | None


@dataclass(frozen=True)
class Frame:
    """A prompt as the chat template writes it, around the text."""

    before: str
    after: str
    silent: bool = False  # the template writes no text beside a picture, so none is taken

    def around(self, text: str) -> str:
        return self.before + ("" if self.silent else text) + self.after


class Reader:
    """Items to processor inputs, Meta Tokens at the very end. On the CPU; holds no weights."""

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
        """Items all with or all without a picture to tensors; `meta` are the Meta Tokens' ids, in order.

        Rows are padded on the left, so the last len(meta) positions of each are the Meta Tokens, whatever
        a processor adds after a prompt (PaliGemma a line break).
        """
        pictured = items[0].image is not None
        frame = self.frames[of_queries, pictured]
        texts = [self._clean(item.text) for item in items]
        if pictured and not of_queries:  # a caption stands on a line of its own, before the instruction
            texts = [f"{text}\n" if text else "" for text in texts]
        texts = [frame.around(text) for text in texts]
        kwargs: dict[str, Any] = {
            "padding": True,
            "padding_side": "left",
            "return_tensors": "pt",
            "add_special_tokens": False,  # the frame has them
        }
        if pictured:
            pictures = [[_picture(item.image)] for item in items if item.image is not None]
            read = self.processor(images=pictures, text=texts, **kwargs)
        else:
            typed = "token_type_ids" in self.processor.model_input_names
            read = self.processor.tokenizer(texts, return_token_type_ids=typed, **kwargs)
        inputs = {key: value for key, value in read.items() if isinstance(value, torch.Tensor)}
        inputs.pop("labels", None)  # PaliGemma's, for training it to write
        return append(inputs, meta)

    def _clean(self, text: str) -> str:
        """No special tokens, which could pass for pictures or Meta Tokens; at most `max_text_tokens`."""
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
        """The frame of a kind of item. A page's picture comes with an instruction, after its text if any."""
        said = self.prompts.query + MARK if of_queries else MARK + self.prompts.page if pictured else MARK
        written = self._written(said, pictured)
        if MARK not in written:
            if not of_queries and pictured:
                return Frame(written, "", silent=True)
            raise ValueError("The chat template of this checkpoint leaves out what a user says.")
        before, after = written.split(MARK)
        return Frame(before, after)

    def _written(self, said: str, pictured: bool) -> str:
        """One user message in the chat template, or in a processor's own format where it has none."""
        tokenizer = self.processor.tokenizer
        template = self.processor.chat_template or tokenizer.chat_template
        if not template:
            return self._own_format(said, pictured)
        content = [{"type": "image"}] * pictured + [{"type": "text", "text": said}]
        written = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
            date_string=TODAY,
        )
        first = self._first_tokens()
        return written if written.startswith(first) else first + written

    def _own_format(self, said: str, pictured: bool) -> str:
        """PaliGemma: picture, <bos>, text, line break. Its processor adds the second and the last."""
        if not pictured:
            return f"{self._first_tokens() or self.processor.tokenizer.bos_token or ''}{said}\n"
        if "PaliGemma" in type(self.processor).__name__:
            return f"{self.processor.image_token}{said}"
        return f"{self._first_tokens()}{self.processor.image_token}{said}\n"

    def _first_tokens(self) -> str:
        """What the tokenizer itself puts before a text: <bos> or [CLS], or nothing."""
        tokenizer = self.processor.tokenizer
        whole, bare = tokenizer("a").input_ids, tokenizer("a", add_special_tokens=False).input_ids
        start = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        return "".join(tokenizer.convert_ids_to_tokens(whole[:start]))


def _picture(image: Image) -> Image:
    """In colour, at most 100 times as long as wide or wide as long: Qwen's processor refuses 200."""
    wide, high = image.size
    size = max(wide, high // 100), max(high, wide // 100)
    return (image if size == image.size else image.resize(size)).convert("RGB")


def append(inputs: Inputs, meta: Sequence[int]) -> Inputs:
    """Rows of a batch, each with the same `meta` tokens after its end; (B, T) becomes (B, T + len(meta)).

    They are text, not part of a picture (mm_token_type_ids 0). To PaliGemma, which reads a prompt in both
    directions and what follows it in one, they follow (token_type_ids 1): so in every causal backbone the
    prompt's states do not depend on them, nor an earlier Meta Token's on a later one. Each sees the picture
    as the prompt's last token does (Mllama's cross_attention_mask).
    """
    rows, r = len(inputs["input_ids"]), len(meta)
    new = {
        "input_ids": torch.tensor(list(meta), dtype=torch.long).expand(rows, r),
        "attention_mask": torch.ones(rows, r, dtype=torch.long),
        "token_type_ids": torch.ones(rows, r, dtype=torch.long),
        "mm_token_type_ids": torch.zeros(rows, r, dtype=torch.long),
    }
    if (seen := inputs.get("cross_attention_mask")) is not None:
        new["cross_attention_mask"] = seen[:, -1:].expand(-1, r, -1, -1)
    return inputs | {
        key: torch.cat([inputs[key], end.to(inputs[key])], 1) for key, end in new.items() if key in inputs
    }
