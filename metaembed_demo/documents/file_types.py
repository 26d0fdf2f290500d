"""Uploaded files: collecting them, detecting their type, and checking them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Problem, Upload

SUFFIXES = {
    ".pdf": "PDF",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".zip": "ZIP",
}
ACCEPTED = "PDF, PNG, JPEG, WebP, TIFF, BMP, GIF and ZIP files"
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
    (b"BM", "BMP"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"%!PS", "PostScript"),
    (b"{\\rtf", "RTF text"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"8BPS", "a Photoshop picture"),
)
ARTICLES = {"PDF": "a PDF", "ZIP": "a ZIP archive"}  # other accepted types: "a ... picture"
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Checked(Upload):
    """An upload whose contents match its name. `file_type` is a value of SUFFIXES."""

    file_type: str


def uploads(paths: Sequence[Path]) -> list[Upload]:
    """Uploads for files and folders; folders are walked in order of name.

    A folder yields its accepted, visible files, named relative to it; on a name collision the later file is
    prefixed with its folder's name. Files given explicitly are always kept, so that `read_files` can report
    what is wrong with them.
    """
    found: list[Upload] = []
    names: set[str] = set()
    for path in map(Path, paths):
        for file in _walk(path) if path.is_dir() else [path]:
            name = file.relative_to(path).as_posix() if file != path else file.name
            if name in names:
                name = f"{path.resolve().name if file != path else path.resolve().parent.name}/{name}"
            names.add(name)
            found.append(Upload(file, name))
    return found


def _walk(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if is_accepted(name)]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def is_accepted(name: str) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in SUFFIXES


def check(file: Upload, limits: Limits) -> Checked | Problem:
    """The upload with its type, or a Problem: missing, empty, too large, unsupported or misnamed."""

    def problem(message: str) -> Problem:
        return Problem(file.name, f"{file.name} {message}")

    named = SUFFIXES.get(PurePosixPath(file.name).suffix.lower())
    if not file.path.exists():
        return problem("does not exist. Check the path.")
    if not file.path.is_file():
        return problem("is not a file. Give a file, or a folder that holds some.")
    size = file.path.stat().st_size
    if size == 0:
        return problem("is empty (0 bytes). Export or download it again.")
    most = limits.max_archive_bytes if named == "ZIP" else limits.max_file_bytes
    if size > most:
        return problem(
            f"is {mebibytes(size)}, over the limit of {mebibytes(most)}. Split it or make it smaller."
        )
    actual = sniff(file.path)
    if named is None:
        return problem(f"is {_described(actual)}, which cannot be read here. Add {ACCEPTED}.")
    if actual != named:
        return problem(
            f"is not {_described(named)}, as its name says, but {_described(actual)}. {_remedy(file, actual)}"
        )
    return Checked(file.path, file.name, named)


def sniff(path: Path) -> str | None:
    """File type by content: a value of SUFFIXES, a description of an unsupported type, or None if unknown."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF picture" if head[8:12] in (b"heic", b"heix", b"mif1", b"avif") else "a film"
    for magic, file_type in MAGIC:
        if head.startswith(magic):
            return _zip_type(path) if file_type == "ZIP" else file_type
    if b"%PDF-" in head:  # readers allow junk before it
        return "PDF"
    return _text_type(head)


def _zip_type(path: Path) -> str:
    """Office documents are ZIP archives too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except Exception:
        return "ZIP"
    if "[Content_Types].xml" in names:
        return "an Office document"
    return "an OpenDocument or EPUB document" if "mimetype" in names else "ZIP"


def _text_type(head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)"
    if start.startswith((b"<?xml", b"<svg")):
        return "an SVG drawing" if b"<svg" in start else "XML"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # otherwise the last character is only truncated
            return None
        text = head[: error.start].decode("utf-8")
    return "plain text" if all(c.isprintable() or c in "\r\n\t\f" for c in text) else None


def _described(file_type: str | None) -> str:
    if file_type is None:
        return "data of an unknown type"
    if file_type not in SUFFIXES.values():
        return file_type
    return ARTICLES.get(file_type, f"a {file_type} picture")


def _remedy(file: Upload, actual: str | None) -> str:
    for suffix, file_type in SUFFIXES.items():
        if file_type == actual:
            return f"Rename it to {PurePosixPath(file.name).with_suffix(suffix).name} and add it again."
    if actual is None:
        return "It may be damaged: download or export it again."
    return "Save it as a PDF or a picture and add that."


def mebibytes(n: int) -> str:
    return f"{n / MEBIBYTE:,.1f} MB" if n >= MEBIBYTE / 10 else f"{n:,} bytes"
