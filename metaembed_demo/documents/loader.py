"""Files to pages, one at a time. A bad file yields a Problem, and reading continues with the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from PIL import Image

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import Box, Notice, Page, Problem, Skipped, Upload, page_id

from . import attachments, images, media, office, pdf
from .file_types import MEDIA, Checked, check, uploads
from .skipped import folded
from .subtitles import paired
from .zip_archive import members

__all__ = ["Problem", "Upload", "count_pages", "expand", "pages_of", "picture_of", "read_files", "uploads"]

NESTING = 2  # levels of PDFs attached to PDFs
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
NO_MEMORY = "needs more memory than is allowed for one file. Save it smaller, or split it."


def count_pages(files: Sequence[Upload], limits: Limits = LIMITS) -> int:
    """Number of pages that `read_files` will try to read. Renders nothing; bad files count 0."""
    return sum(_count(item, limits) for file in paired(files) for item in expand(file, limits))


def _count(item: Checked | Problem, limits: Limits) -> int:
    if isinstance(item, Problem):
        return 0
    try:
        if item.file_type in office.CONVERTED:
            return 1  # at least
        if item.file_type == MEDIA:
            return media.count(item.path, limits)
        if item.file_type != "PDF":
            return images.count_frames(item.path, limits)
        with pdf.PdfFile(item.path, limits) as document:
            return min(len(document), limits.max_pages)
    except Exception:
        return 0


def read_files(files: Sequence[Upload], limits: Limits = LIMITS) -> Iterator[Page | Problem]:
    """Pages of all files in order, with a Problem for whatever cannot be read.

    Never raises for bad content. Only a few pages are in memory at a time.
    """
    yield from folded(
        page for file in paired(files) for item in expand(file, limits) for page in pages_of(item, limits)
    )


def pages_of(item: Checked | Problem, limits: Limits, level: int = 0) -> Iterator[Page | Problem]:
    """Pages of one item from `expand`; a Problem is passed through. `level` counts PDFs around this one."""
    if isinstance(item, Problem):
        yield item
        return
    try:
        if item.file_type == "PDF":
            yield from _pdf_pages(item, limits, level)
        elif item.file_type in office.CONVERTED:
            with office.converted(item.path, item.file_type, limits) as made:
                yield from _pdf_pages(Checked(made, item.name, "PDF"), limits, level)
        elif item.file_type == MEDIA:
            yield from media.pages(item, limits)
        else:
            yield from _image_pages(item, limits)
    except (pdf.PdfError, images.ImageError, media.MediaError, office.OfficeError) as error:
        yield Problem(item.name, f"{item.name} {error}")
    except MemoryError:
        yield Problem(item.name, f"{item.name} {NO_MEMORY}")
    except Exception as error:
        yield Problem(item.name, f"{item.name} could not be read ({type(error).__name__}: {error}).")


def _pdf_pages(item: Checked, limits: Limits, level: int) -> Iterator[Page | Problem]:
    with pdf.PdfFile(item.path, limits) as document:
        last = min(len(document), limits.max_pages)
        for page in document.pages(last):
            if isinstance(page, pdf.BadPage):
                yield Problem(item.name, f"Page {page.number} of {item.name} {page.why}")
            else:
                identity = page_id(page.image, page.words)
                full = partial(document.full, page.number)
                yield Page(identity, item.name, page.number, page.image, page.words, page.pictures, full=full)
                for note in page.notes:
                    yield Notice.of(item.name, page.number, note)
        if len(document) > last:
            yield _too_many_pages(item, f"{len(document):,} pages", limits)
        if text := attachments.announced_form(document):
            yield Notice(item.name, f"{item.name} {text}")
        for found in attachments.attached(document, item.name, limits):
            if isinstance(found, Skipped):  # such as the data of an electronic invoice: the pages are read
                yield Notice(found.source, found.message)
            elif isinstance(found, Checked) and level >= NESTING:
                yield Notice(found.name, f"{found.name} was skipped: it is attached to an attachment.")
            else:
                yield from pages_of(found, limits, level + 1)


def _image_pages(item: Checked, limits: Limits) -> Iterator[Page | Problem]:
    number, found = 0, 0
    for number, image in enumerate(images.frames(item.path, limits), start=1):
        if not isinstance(image, images.ImageError):
            found += 1
            large = image.info.get(images.NATIVE, 0) > images.LARGE * max(image.size)
            full = partial(images.full_size, item.path, number, limits) if large else None
            yield Page(page_id(image), item.name, number, image, pictures=(WHOLE,), full=full)
        elif item.file_type == "TIFF" and (found or number > 1):
            yield Problem(item.name, f"Page {number} of {item.name} {image}")
        else:
            yield Problem(item.name, f"{item.name} {image}")
    if found and (more := images.frames_left_out(item.path, limits)):
        yield Notice(item.name, f"{item.name} holds {more + 1:,} frames; the first was read.", 1)
    if number == limits.max_pages and images.has_more_frames(item.path, number, limits):
        yield _too_many_pages(item, f"more than {number:,} pages", limits)


def _too_many_pages(item: Upload, size: str, limits: Limits) -> Problem:
    return Problem(
        item.name,
        f"{item.name} has {size}, over the limit of {limits.max_pages:,}. The first {limits.max_pages:,} "
        "were read; split the file to add the rest.",
    )


def picture_of(file: Upload, number: int, limits: Limits = LIMITS) -> Image.Image:
    """The picture alone of one page (1-based) of a PDF or picture file, as `read_files` gives it.

    It is read in this process, so it is for files of our own.

    Raises:
        ValueError: when the file or the page cannot be read; the message names it and says why.
    """
    where = f"{file.name} page {number}"
    checked = next(expand(file, limits), None)
    if checked is None or isinstance(checked, Problem):
        raise ValueError(checked.message if checked else f"{file.name} holds no page.")
    try:
        if checked.file_type == "PDF":
            with pdf.PdfFile(checked.path, limits) as document:
                return document.draw(number)
        found = next(islice(images.frames(checked.path, limits), number - 1, None), None)
    except MemoryError as error:
        raise ValueError(f"{file.name} {NO_MEMORY}") from error
    except Exception as error:  # PdfError and ImageError are the rest of a sentence; pdfium tells little
        raise ValueError(f"{where} cannot be drawn: {file.name} {error}") from error
    if found is None or isinstance(found, images.ImageError):
        raise ValueError(f"{where} cannot be drawn: {file.name} {found or 'has no such page.'}")
    return found


def expand(file: Upload, limits: Limits, skip: int = 0) -> Iterator[Checked | Problem]:
    """The checked file, or the members of a ZIP archive, each unpacked while it is being consumed.

    skip: number of items to leave out, already read.
    """
    file = replace(file, name=clean(file.name))
    try:
        checked = check(file, limits)
        if not isinstance(checked, Problem) and checked.file_type == "ZIP":
            yield from members(checked, limits, skip)
        elif not skip:
            yield checked
    except OSError as error:
        yield Problem(file.name, f"{file.name} cannot be opened: {error.strerror or error}.")
