"""Uploaded files: collecting them, detecting their type by content, and what is said of those not read."""

from __future__ import annotations

import importlib.util
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metaembed_demo.core import moments
from metaembed_demo.core.config import Limits
from metaembed_demo.core.extras import install
from metaembed_demo.core.text import bytes_text
from metaembed_demo.core.types import Problem, Skipped, Upload

from . import office
from . import subtitles as captions

MEDIA = "video or sound"
SUFFIXES = {
    ".pdf": "PDF",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".avif": "AVIF",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".jpx": "JPEG 2000",
    ".zip": "ZIP",
    **dict.fromkeys(moments.SUFFIXES, MEDIA),
}


def reads_media() -> bool:
    """Whether the extra for video and sound is installed."""
    return importlib.util.find_spec("av") is not None


ACCEPTED = (
    "PDF, PNG, JPEG, WebP, TIFF, BMP, GIF, HEIC, AVIF, JPEG 2000"
    f"{', video, sound' if reads_media() else ''} and ZIP files"
)
TYPES = frozenset(SUFFIXES.values())
# Magic bytes -> file type, or a description for types that are not accepted.
MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"%!PS", "PostScript"),
    (b"{\\rtf", "RTF text"),
    (b"\xd0\xcf\x11\xe0", "an old or encrypted Office document"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"8BPS", "a Photoshop picture"),
)
# FFmpeg's name for the format of a video or sound, which is told to it: probing might take it for a playlist.
MEDIA_MAGIC = (
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"OggS\0", "ogg"),
    (0, b"fLaC", "flac"),
    *((0, b"ID3" + bytes([version]), "mp3") for version in (2, 3, 4)),
    (8, b"WAVE", "wav"),
    (4, b"ftyp", "mov"),
    *((4, box, "mov") for box in (b"moov", b"mdat")),  # of a QuickTime file without a type
    *((3, b"\x08" + box, "mov") for box in (b"wide", b"skip", b"free")),  # likewise
)
SHORT_MAGIC = ((b"BM", "BMP"), (b"MZ", "a program"))  # may begin anything: looked at last
OFFICE_PARTS = (
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("xl/workbook.xml", "an Excel workbook"),
)
# Documents that are not read, and that a user can export.
EXPORTED = {
    *office.CONVERTED,
    "an Office document",
    "an old or encrypted Office document",
    "an OpenDocument or EPUB document",
    "an SVG drawing",
    "PostScript",
    "RTF text",
}
TEXT_SUFFIXES = {".txt": "plain text", ".text": "plain text", ".md": "Markdown", ".markdown": "Markdown"}
ARTICLES = {
    "PDF": "a PDF",
    "ZIP": "a ZIP archive",
    MEDIA: f"a {MEDIA}",
}  # other accepted types: "a ... picture"
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
HEAD = 1024 + 8  # bytes looked at; pdfium finds a header in the first 1024
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
UNSEEN = {"__macosx", "thumbs.db", "desktop.ini"}  # what systems leave behind, in lower case
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Checked(Upload):
    """An upload that can be read. `file_type` is a value of SUFFIXES, or a document of office.CONVERTED."""

    file_type: str


def uploads(paths: Sequence[Path], only_accepted: bool = False) -> list[Upload]:
    """Uploads for files and folders; folders are walked in order of name.

    A folder yields its visible files, named relative to it; on a name collision the later file is prefixed
    with its folder's name. `read_files` says of each that it does not read why.

    only_accepted: leave out what is no PDF, picture or ZIP by its name, for folders of known content.
    """
    found: list[Upload] = []
    names: set[str] = set()
    for path in map(Path, paths):
        for file in _walk(path, only_accepted) if path.is_dir() else [path]:
            name = file.relative_to(path).as_posix() if file != path else file.name
            if name in names:
                name = f"{path.resolve().name if file != path else path.resolve().parent.name}/{name}"
            names.add(name)
            found.append(Upload(file, name))
    return found


def is_visible(parts: Sequence[str]) -> bool:
    """Whether a path holds nothing hidden, nor what systems leave behind."""
    return not any((part.startswith(".") and part != "..") or part.lower() in UNSEEN for part in parts)


def _walk(folder: Path, only_accepted: bool) -> list[Path]:
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if is_visible([name])]
        seen = (name for name in files if is_visible([name]) and (not only_accepted or is_accepted(name)))
        found += [Path(parent, name) for name in seen]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def is_accepted(name: str) -> bool:
    """Whether a file's name alone says that it is read."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in SUFFIXES


def check(file: Upload, limits: Limits) -> Checked | Problem:
    """The upload with its type, or a Problem: missing, empty, too large, or of a type that is not read."""

    def problem(message: str) -> Problem:
        return Problem(file.name, f"{file.name} {message}")

    if not file.path.exists():
        return problem("does not exist. Check the path.")
    if not file.path.is_file():
        return problem("is not a file. Give a file, or a folder that holds some.")
    size = file.path.stat().st_size
    if size == 0:
        return problem("is empty (0 bytes). Export or download it again.")
    actual = sniff(file.path)
    if actual == "plain text":
        actual = _text_named(file.name)
    if actual not in TYPES and (refused := _refused(file, actual)):
        return refused
    if refusal := _refused_media(file.name, actual == MEDIA):
        return refusal
    most = limits.max_archive_bytes if actual == "ZIP" else limits.max_file_bytes
    if size > most:
        return problem(
            f"is {bytes_text(size)}, over the limit of {bytes_text(most)}. Split it or make it smaller."
        )
    return Checked(file.path, file.name, str(actual), subtitles=file.subtitles)


def _refused_media(name: str, is_media: bool) -> Problem | None:
    """What is said where name and content disagree, or the extra is missing; None if a file is to be read."""
    if is_media and not moments.is_media(name):
        suffixes = ", ".join(moments.SUFFIXES)
        return Problem(name, f"{name} is a {MEDIA}, but not named as one. Rename it to end in {suffixes}.")
    if not is_media and moments.is_media(name):
        return Problem(name, f"{name} is not a {MEDIA}, as its name says. Rename it, or download it again.")
    if is_media and not reads_media():
        told = f"was skipped: it is a {MEDIA}, which is read with the extra media: {install('media')}"
        return Skipped(name, f"{name} {told}", MEDIA)
    return None


def _text_named(name: str) -> str:
    """What a plain text is, by its name: a document, or something else such as a program."""
    suffix = PurePosixPath(name).suffix.lower()
    return TEXT_SUFFIXES.get(suffix) or (f"text ({suffix})" if suffix else "text")


def _refused(file: Upload, kind: str | None) -> Problem | None:
    """What is said of a file that is neither PDF, picture nor ZIP; None if it is to be converted."""
    described, name = kind or "data of an unknown type", file.name
    named = SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if named and kind not in office.PACKED:  # such as the web page of a failed download
        remedy = "Save it as a PDF or a picture and add that."
        if kind is None or named == MEDIA:
            remedy = "It may be damaged: download or export it again."
        elif kind in EXPORTED:
            remedy = "Download it again, or export it as PDF and add that."
        return Problem(
            name, f"{name} is not {_described(named)}, as its name says, but {described}. {remedy}"
        )
    if kind in office.CONVERTED and office.is_installed():
        return None
    if kind in EXPORTED:
        return Problem(name, f"{name} is {described}, which is not read here: export it as PDF and add that.")
    told = f"it is {described}, which is not read here. Read are {ACCEPTED}."
    if name.lower().endswith(captions.SUFFIXES):
        told = f"subtitles are read with a {MEDIA} of the same name in the same upload, in one language."
    return Skipped(
        name,
        f"{name} was skipped: {told}",
        described,
    )


def sniff(path: Path) -> str | None:
    """File type by content: a value of SUFFIXES, a description of an unsupported type, or None if unknown."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _ftyp_type(head)
    if media_format(head):
        return MEDIA
    for magic, file_type in MAGIC:
        if head.startswith(magic):
            return _zip_type(path) if file_type == "ZIP" else file_type
    if b"%PDF-" in head:  # readers allow junk before it
        return "PDF"
    found = _text_type(head)
    for magic, file_type in SHORT_MAGIC:
        if found is None and head.startswith(magic):
            return file_type
    return found


def media_format(head: bytes) -> str:
    """FFmpeg's name for the format of a file that begins so; "" where it is no video or sound."""
    found = next((name for at, magic, name in MEDIA_MAGIC if head[at : at + len(magic)] == magic), "")
    bare = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # a frame of layer III
    return found or ("mp3" if bare else "")


def _ftyp_type(head: bytes) -> str:
    """The type of an ISO media file, by its brands."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, end, 4))}
    if brands & AVIF_BRANDS:
        return "AVIF"
    if brands & HEIF_BRANDS:
        return "HEIC"
    return "JPEG 2000" if head[8:12] == b"jp2 " else MEDIA


def _zip_type(path: Path) -> str:
    """Office documents are ZIP archives too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            kind = archive.read("mimetype")[:100] if _is_small(archive, "mimetype") else b""
    except Exception:
        return "ZIP"
    if "[Content_Types].xml" in names:
        return next((kind for part, kind in OFFICE_PARTS if part in names), "an Office document")
    odf = office.OPEN_DOCUMENTS.get(kind.decode("ascii", "replace").strip())
    return odf or ("an OpenDocument or EPUB document" if "mimetype" in names else "ZIP")


def _is_small(archive: zipfile.ZipFile, name: str) -> bool:
    return name in archive.namelist() and archive.getinfo(name).file_size < HEAD


def _text_type(head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower()
    if start.startswith((b"<?xml", b"<svg", b"<!doctype svg", b"<!--")) and re.search(rb"<svg[\s>]", start):
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")) or (b"<!--" in start and b"<html" in start):
        return "a web page (HTML)"
    if start.startswith(b"<?xml"):
        return "a web page (HTML)" if b"<html" in start else "XML"
    try:
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # otherwise the last character is only truncated
            odd = sum(byte >= 128 for byte in head)  # the letters of an older encoding, but few
            return "plain text" if odd < len(head) / 5 and not CONTROL.search(head) else None
        text = head[: error.start].decode(error.encoding)
    return "plain text" if all(c.isprintable() or c in "\ufeff\r\n\t\f" for c in text) else None


def _described(file_type: str) -> str:
    return ARTICLES.get(file_type, f"a {file_type} picture")
