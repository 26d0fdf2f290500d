"""What lies on a PDF page besides its content: form fields, text boxes, notes.

Annotations with an appearance become content of the page (in memory), so that their text is read where it is
drawn. What a field or note holds and its appearance does not show gets the annotation's rectangle as box.
Callers hold the lock of `pdf`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from metaembed_demo.core.text import normalised
from metaembed_demo.core.types import Box, Word

from .pdf_frame import Frame, clipped

MOST_NOTES = 2_000  # annotations of a page that are read; a limit against bombs
MOST_LETTERS = 20_000  # of one annotation
NEAR = 0.01  # of the page: how far the text of an appearance may stand out of its rectangle
UNSEEN = pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW
PASSWORD = 1 << 13  # a flag of text fields
UNREAD = (pdfium.FPDF_ANNOT_LINK, pdfium.FPDF_ANNOT_POPUP, pdfium.FPDF_ANNOT_UNKNOWN)
TYPED = (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX)


@dataclass(frozen=True)
class Note:
    """The text of one field or annotation, and its rectangle."""

    text: str
    box: Box


def notes(page: pypdfium2.PdfPage, frame: Frame) -> tuple[list[Note], bool, str]:
    """Texts of visible fields and annotations; whether any may be drawn; a note on what was left out."""
    count = pdfium.FPDFPage_GetAnnotCount(page)
    if count > MOST_NOTES:
        return [], False, f"has {count:,} annotations, over the limit of {MOST_NOTES:,}: none was read."
    found, drawn = [], False
    for i in range(count):
        with _annotation(page, i) as note:
            subtype = pdfium.FPDFAnnot_GetSubtype(note)
            if subtype in UNREAD or pdfium.FPDFAnnot_GetFlags(note) & UNSEEN:
                continue
            drawn = True
            text = _value(page, note) if subtype == pdfium.FPDF_ANNOT_WIDGET else _string(note, b"Contents")
            if text.strip():
                found.append(Note(text, _box(note, frame)))
    return found, drawn, ""


def unshown(found: Sequence[Note], words: Sequence[Word]) -> list[Word]:
    """Words of notes and fields whose text is not among the page's words inside their rectangle."""
    added = []
    for note in found:
        x0, y0, x1, y1 = note.box
        shown = [
            word.text
            for word in words
            if x0 - NEAR <= (word.box[0] + word.box[2]) / 2 <= x1 + NEAR
            and y0 - NEAR <= (word.box[1] + word.box[3]) / 2 <= y1 + NEAR
        ]
        texts = normalised(note.text).split()
        if "".join(texts) in "".join(shown):  # but letters in boxes of their own are no words
            texts = [text for text in texts if text not in shown and set(text) <= set(shown)]
        added += [Word(text, note.box, font="note") for text in texts]
    return added


@contextmanager
def _annotation(page: pypdfium2.PdfPage, index: int) -> Iterator[Any]:
    note = pdfium.FPDFPage_GetAnnot(page, index)
    try:
        yield note
    finally:
        pdfium.FPDFPage_CloseAnnot(note)


def _value(page: pypdfium2.PdfPage, note: Any) -> str:
    """What is typed or chosen in a field. A tick is no text, and a password is not shown."""
    if page.formenv is None:
        return _string(note, b"V")
    form = page.formenv
    kind = pdfium.FPDFAnnot_GetFormFieldType(form, note)
    secret = pdfium.FPDFAnnot_GetFormFieldFlags(form, note) & PASSWORD
    if kind not in TYPED or (kind == pdfium.FPDF_FORMFIELD_TEXTFIELD and secret):
        return ""
    chosen = [
        _text(pdfium.FPDFAnnot_GetOptionLabel, form, note, i)
        for i in range(min(pdfium.FPDFAnnot_GetOptionCount(form, note), MOST_NOTES))
        if pdfium.FPDFAnnot_IsOptionSelected(form, note, i)
    ]
    return " ".join(chosen) or _text(pdfium.FPDFAnnot_GetFormFieldValue, form, note)


def _string(note: Any, key: bytes) -> str:
    return _text(pdfium.FPDFAnnot_GetStringValue, note, key)


def _text(call: Any, *arguments: Any) -> str:
    """The string that a pdfium call returns in a buffer; "" when it is too long for a note."""
    size = call(*arguments, None, 0)
    if not 2 < size <= 2 * MOST_LETTERS:
        return ""
    buffer = ctypes.create_string_buffer(size)
    call(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")


def _box(note: Any, frame: Frame) -> Box:
    rect = pdfium.FS_RECTF()
    pdfium.FPDFAnnot_GetRect(note, ctypes.byref(rect))
    points = np.array([[rect.left, rect.bottom, rect.right, rect.top]])
    return clipped(*frame.boxes(points)[0])


def pinned(page: pypdfium2.PdfPage) -> Iterator[object]:
    """Files attached to a place on the page."""
    for i in range(min(pdfium.FPDFPage_GetAnnotCount(page), MOST_NOTES)):
        note = pdfium.FPDFPage_GetAnnot(page, i)
        is_file = pdfium.FPDFAnnot_GetSubtype(note) == pdfium.FPDF_ANNOT_FILEATTACHMENT
        if is_file and (found := pdfium.FPDFAnnot_GetFileAttachment(note)):
            yield found
        pdfium.FPDFPage_CloseAnnot(note)
