"""ZIP archives: members are unpacked one at a time, within limits, never under their own path."""

from __future__ import annotations

import contextlib
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from metaembed_demo.core.config import Limits
from metaembed_demo.core.disk import is_full, scratch_prefix
from metaembed_demo.core.text import bytes_text, clean, short_name
from metaembed_demo.core.types import Problem, Upload

from .file_types import ACCEPTED, MEBIBYTE, Checked, check, is_accepted, is_visible
from .subtitles import beside

UTF8 = 1 << 11  # flag of a member whose name is in UTF-8
NO_ROOM = (
    "the disk that holds temporary files is full. Free some space there, or set TMPDIR to a folder elsewhere."
)


def members(archive_file: Checked, limits: Limits, skip: int = 0) -> Iterator[Checked | Problem]:
    """The files in an archive, with a Problem for each unreadable one; the first `skip` are left out."""
    name = archive_file.name
    try:
        archive = zipfile.ZipFile(archive_file.path)
    except Exception:
        yield Problem(name, f"{name} cannot be opened: the archive is damaged or cut off. Pack it again.")
        return
    if _is_index(archive):
        archive.close()
        yield Problem(name, f"{name} is a saved index, not documents. Use Open an index for it.")
        return
    with archive, tempfile.TemporaryDirectory(prefix=scratch_prefix()) as folder:
        wanted = sorted(filter(_wanted, archive.infolist()), key=lambda info: not is_accepted(_inner(info)))
        by_name = {_inner(info): info for info in wanted if _is_small(info, limits)}
        subtitles = beside(list(by_name))
        used = set(subtitles.values())
        wanted = [info for info in wanted if _inner(info) not in used]
        if not wanted:
            yield Problem(
                name,
                f"{name} holds nothing that can be read. Pack {ACCEPTED.replace(' and ZIP', '')} into it.",
            )
        unpacked = 0
        for index, info in enumerate(wanted[: limits.max_archive_files]):
            unpacked += info.file_size
            if unpacked > limits.max_archive_bytes:
                yield Problem(
                    name,
                    f"{name} unpacks to more than {bytes_text(limits.max_archive_bytes)}: {_inner(info)} and "
                    "what follows was left out. Split the archive.",
                )
                return
            if index >= skip:
                also = by_name.get(subtitles.get(_inner(info), ""))
                with _unpacked(archive, also, Path(folder, "subtitles")) as beside_it:
                    yield from _member(archive, info, name, Path(folder, "member"), limits, beside_it)
        if len(wanted) > limits.max_archive_files:
            yield Problem(
                name,
                f"{name} holds {len(wanted):,} files, over the limit of {limits.max_archive_files:,}. The "
                f"first {limits.max_archive_files:,} were read; split the archive to add the rest.",
            )


def _is_small(info: zipfile.ZipInfo, limits: Limits) -> bool:
    return info.file_size <= limits.max_file_bytes and not is_bomb(info, limits)


@contextlib.contextmanager
def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, target: Path) -> Iterator[Path | None]:
    """Subtitles on disk, empty if they cannot be unpacked; None where there are none."""
    if info is None:
        yield None
        return
    try:
        try:
            unpack(archive, info, target)
        except Exception:
            target.write_bytes(b"")
        yield target
    finally:
        target.unlink(missing_ok=True)


def _is_index(archive: zipfile.ZipFile) -> bool:
    """Whether it is a saved collection (collection/persistence.py)."""
    paths = [PurePosixPath(name) for name in archive.namelist()]
    return any(path.name == "manifest.json" for path in paths) and any("segments" in p.parts for p in paths)


def _wanted(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and is_visible(PurePosixPath(info.filename).parts)


def _inner(info: zipfile.ZipInfo) -> str:
    """The member's name for display; nothing is written under it."""
    parts = PurePosixPath(clean(_named(info))).parts
    return short_name("/".join(part for part in parts if part.strip("/") not in ("", ".."))) or "?"


def _named(info: zipfile.ZipInfo) -> str:
    """The member's name: many programs write UTF-8 without the flag that says so; zipfile takes CP437."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return unicodedata.normalize("NFC", info.filename.encode("cp437").decode("utf-8"))
    except UnicodeError:
        return info.filename


def _member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    archive_name: str,
    target: Path,
    limits: Limits,
    subtitles: Path | None,
) -> Iterator[Checked | Problem]:
    name = f"{archive_name}/{_inner(info)}"

    def problem(message: str) -> Problem:
        return Problem(name, f"{name} {message}")

    if info.flag_bits & 1:
        yield problem("is protected by a password. Unpack the archive and add the file itself.")
    elif info.file_size > limits.max_file_bytes:
        yield problem(
            f"unpacks to {bytes_text(info.file_size)}, over the limit of {bytes_text(limits.max_file_bytes)} "
            "a file. Split it or make it smaller."
        )
    elif is_bomb(info, limits):
        yield problem(
            f"unpacks to {info.file_size // max(1, info.compress_size):,} times its packed size: it looks "
            "like a decompression bomb and was not opened. Add the file itself if it is real."
        )
    else:
        try:
            unpack(archive, info, target)
        except Exception as error:
            target.unlink(missing_ok=True)
            if is_full(error):
                yield problem(f"cannot be unpacked: {NO_ROOM}")
            else:
                yield problem("cannot be unpacked: the archive is damaged or cut off. Pack it again.")
            return
        try:
            found = check(Upload(target, name, subtitles=subtitles), limits)
            if isinstance(found, Checked) and found.file_type == "ZIP":
                found = problem("is an archive inside an archive. Unpack it and add what it holds.")
            yield found
        finally:
            target.unlink(missing_ok=True)


def is_bomb(info: zipfile.ZipInfo, limits: Limits) -> bool:
    """Whether a member exceeds the compression ratio limit. A mebibyte or less is harmless."""
    return info.file_size > MEBIBYTE and info.file_size > limits.max_archive_ratio * info.compress_size


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Write one member to `target`, reading at most the size given in the archive's directory.

    Raises:
        zipfile.BadZipFile: when the member is truncated or its CRC does not match.
    """
    left = info.file_size
    with archive.open(info) as packed, target.open("wb") as out:
        while left > 0 and (block := packed.read(min(left, MEBIBYTE))):
            out.write(block)
            left -= len(block)
        packed.read(1)  # reading past the end checks the CRC
    if left:
        raise zipfile.BadZipFile(f"{info.filename} is cut off")
