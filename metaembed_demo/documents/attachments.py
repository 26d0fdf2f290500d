"""What a PDF holds besides pages: the files attached to it, and a form that its pages only announce."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pypdfium2
import pypdfium2.raw as pdfium

from metaembed_demo.core.config import Limits
from metaembed_demo.core.disk import scratch_prefix
from metaembed_demo.core.text import bytes_text, clean, short_name
from metaembed_demo.core.types import Problem, Upload

from .file_types import Checked, check
from .pdf import PdfFile

WAIT = "please wait"  # how the page begins that stands in for an XFA form
XFA_TEXT = 400  # characters of the first page looked at


def announced_form(document: PdfFile) -> str:
    """The rest of a sentence about an XFA form that no page shows; "" where there is none."""
    with document.held() as opened:
        kind = pdfium.FPDF_GetFormType(opened)
        if kind == pdfium.FORMTYPE_XFA_FOREGROUND and not _waits(opened):
            return ""
        if kind not in (pdfium.FORMTYPE_XFA_FULL, pdfium.FORMTYPE_XFA_FOREGROUND):
            return ""
    return (
        "is an XFA form: what was read is only the page that stands in for it. Open it in Adobe Acrobat "
        "Reader, print it to a new PDF, and add that."
    )


def _waits(document: pypdfium2.PdfDocument) -> bool:
    try:
        page = document[0]
    except pypdfium2.PdfiumError:
        return False
    text = page.get_textpage()
    try:
        return WAIT in text.get_text_range(0, XFA_TEXT, errors="replace").lower()
    finally:
        text.close()
        page.close()


def attached(document: PdfFile, name: str, limits: Limits) -> Iterator[Checked | Problem]:
    """The files attached to a PDF whose pages were read, each on disk while it is being consumed.

    Each is named "name/its own name".
    """
    with document.held() as opened:
        count = pdfium.FPDFDoc_GetAttachmentCount(opened)
        held = [pdfium.FPDFDoc_GetAttachment(opened, i) for i in range(min(count, limits.max_archive_files))]
    count, held = count + len(document.pinned), [*held, *document.pinned]
    left = limits.max_archive_bytes
    with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as folder:
        for number, one in enumerate(held[: limits.max_archive_files], start=1):
            target = Path(folder, "attachment")
            with document.held():
                inner = f"{name}/{_name(one) or number}"
                size = _size(one)
                if size is not None and size <= min(left, limits.max_file_bytes):
                    target.write_bytes(_content(one, size))
            if size is None:
                yield Problem(
                    inner, f"{inner} cannot be taken out of {name}: it is damaged. Export it again."
                )
            elif size > min(left, limits.max_file_bytes):
                most = bytes_text(min(left, limits.max_file_bytes))
                yield Problem(
                    inner,
                    f"{inner} unpacks to {bytes_text(size)}, of which {most} are allowed. Save it as a file "
                    "of its own.",
                )
            else:
                left -= size
                yield _checked(Upload(target, inner), name, limits)
                target.unlink(missing_ok=True)
    if count > limits.max_archive_files:
        yield Problem(
            name,
            f"{name} has {count:,} attachments, over the limit of {limits.max_archive_files:,}. The first "
            f"{limits.max_archive_files:,} were read.",
        )


def _checked(file: Upload, owner: str, limits: Limits) -> Checked | Problem:
    found = check(file, limits)
    if isinstance(found, Checked) and found.file_type == "ZIP":
        return Problem(
            file.name,
            f"{file.name} is an archive attached to {owner}. Save it to a file of its own and add that.",
        )
    return found


def _name(attachment: object) -> str:
    """Its name without folders; "" where it has none."""
    size = pdfium.FPDFAttachment_GetName(attachment, None, 0)
    buffer = ctypes.create_string_buffer(max(2, size))
    pdfium.FPDFAttachment_GetName(attachment, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    text = buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace")
    return short_name(PurePosixPath(clean(text).replace("\\", "/")).name)


def _size(attachment: object) -> int | None:
    """Bytes of its content, at most 1 GiB, where pdfium stops unpacking; None where there is no content."""
    size = ctypes.c_ulong()
    done = pdfium.FPDFAttachment_GetFile(attachment, None, 0, ctypes.byref(size))
    return int(size.value) if done else None


def _content(attachment: object, size: int) -> bytes:
    buffer, taken = ctypes.create_string_buffer(max(1, size)), ctypes.c_ulong()
    pdfium.FPDFAttachment_GetFile(attachment, buffer, size, ctypes.byref(taken))
    return buffer.raw[:size]
