"""Office documents, web pages and texts: LibreOffice makes PDFs of them, where it is installed.

It runs as a process of its own within the limits of the process that reads files, with a profile made for
the one document: no macros, and nothing that the document refers to is opened.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from metaembed_demo.core.config import Limits
from metaembed_demo.core.disk import scratch_prefix

RESTART = 81  # exit status of the first start with a profile that LibreOffice has to complete
SHARE = 0.75  # of the time for a page, so that the reading process outlives a slow conversion
REMEDY = "Open it in its own program and export it as PDF."
SECURITY = "/org.openoffice.Office.Common/Security/Scripting"
SETTINGS = (
    (SECURITY, "MacroSecurityLevel", "3"),
    (SECURITY, "DisableMacrosExecution", "true"),
    (SECURITY, "DisableActiveContent", "true"),
    (SECURITY, "BlockUntrustedRefererLinks", "true"),  # pictures and texts by address, of files too
    ("/org.openoffice.Office.Writer/Content/Update", "Link", "0"),
    ("/org.openoffice.Office.Calc/Content/Update", "Link", "2"),
)
PROFILE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<oor:items xmlns:oor="http://openoffice.org/2001/registry">%s</oor:items>'
)
SETTING = '<item oor:path="%s"><prop oor:name="%s" oor:op="fuse"><value>%s</value></prop></item>'


class OfficeError(Exception):
    """A document that cannot be converted. The message completes a sentence that begins with its name."""


class _Way(NamedTuple):
    """How a kind of document is opened, and the filter that writes its PDF."""

    suffix: str
    writer: str = "writer_pdf_Export"
    reader: str = ""  # "": by content


PACKED = {  # those that are ZIP archives
    "a Word document": _Way("docx"),
    "a PowerPoint presentation": _Way("pptx", "impress_pdf_Export"),
    "an Excel workbook": _Way("xlsx", "calc_pdf_Export"),
    "an OpenDocument text": _Way("odt"),
    "an OpenDocument presentation": _Way("odp", "impress_pdf_Export"),
    "an OpenDocument spreadsheet": _Way("ods", "calc_pdf_Export"),
}
CONVERTED = {
    **PACKED,
    "a web page (HTML)": _Way("html", reader="HTML (StarWriter)"),
    "plain text": _Way("txt", reader="Text (encoded):UTF8,LF,Liberation Sans,en-US"),
    "Markdown": _Way("txt", reader="Text (encoded):UTF8,LF,Liberation Sans,en-US"),
}
OPEN_DOCUMENTS = {  # the member "mimetype"
    "application/vnd.oasis.opendocument.text": "an OpenDocument text",
    "application/vnd.oasis.opendocument.presentation": "an OpenDocument presentation",
    "application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet",
}


def is_installed() -> bool:
    return shutil.which("soffice") is not None


@contextlib.contextmanager
def converted(path: Path, kind: str, limits: Limits) -> Iterator[Path]:
    """A PDF of the document, removed afterwards. `kind` is one of CONVERTED.

    Raises:
        OfficeError: when the document is not whole, protected, or LibreOffice fails or takes too long.
    """
    if kind in PACKED:
        _check_whole(path, limits)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(), ignore_cleanup_errors=True) as name:
        folder, way = Path(name), CONVERTED[kind]
        source = folder / f"document.{way.suffix}"
        if way.suffix == "txt":
            source.write_text(text_of(path.read_bytes()), encoding="utf-8", newline="\n")
        else:
            shutil.copyfile(path, source)
        _convert(source, way, folder, limits)
        made = folder / "out" / "document.pdf"
        if not made.is_file() or not made.stat().st_size:
            raise OfficeError(f"is damaged or protected, and LibreOffice cannot open it. {REMEDY}")
        if made.stat().st_size > limits.max_file_bytes:
            raise OfficeError(f"makes a PDF over the limit of {limits.max_file_bytes:,} bytes. Split it.")
        yield made


def _check_whole(path: Path, limits: Limits) -> None:
    """Check that every member of a packed document is there, before LibreOffice repairs it in silence."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.flag_bits & 1 for member in members):
                raise OfficeError(f"is protected by a password. {REMEDY}")
            size = sum(member.file_size for member in members)
            if size > limits.max_archive_bytes or len(members) > 10 * limits.max_archive_files:
                raise OfficeError(f"unpacks to {size:,} bytes, over the limit. {REMEDY}")
            if "META-INF/manifest.xml" in archive.namelist():  # of an OpenDocument
                manifest = archive.read("META-INF/manifest.xml")
                if b"encryption-data" in manifest:
                    raise OfficeError(f"is protected by a password. {REMEDY}")
            broken = archive.testzip()
    except OfficeError:
        raise
    except Exception:
        broken = "its archive"
    if broken:
        raise OfficeError(f"is cut off or damaged. Download it again, or: {REMEDY[0].lower()}{REMEDY[1:]}")


def text_of(data: bytes) -> str:
    """A text file's content, in the likeliest of its encodings."""
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return data.decode("latin-1")


def _convert(source: Path, way: _Way, folder: Path, limits: Limits) -> None:
    profile = folder / "profile"
    (profile / "user").mkdir(parents=True)
    settings = "".join(SETTING % setting for setting in SETTINGS)
    (profile / "user" / "registrymodifications.xcu").write_text(PROFILE % settings, encoding="utf-8")
    command = [
        _program(),
        *(
            "--headless",
            "--norestore",
            "--nologo",
            "--nolockcheck",
            f"-env:UserInstallation={profile.as_uri()}",
        ),
        *([f"--infilter={way.reader}"] if way.reader else []),
        *("--convert-to", f"pdf:{way.writer}", "--outdir", str(folder / "out"), str(source)),
    ]
    # Its own home, and proxies that answer nobody, should anything still be asked for.
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **nobody, "HOME": str(folder), "TMPDIR": str(folder)}
    seconds = SHARE * limits.seconds_per_page
    try:
        for _ in range(2):
            done = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, timeout=seconds, check=False
            )
            if done.returncode != RESTART:
                return
    except subprocess.TimeoutExpired:
        raise OfficeError(f"takes LibreOffice more than {seconds:g} s. {REMEDY}") from None
    except OSError as error:
        raise OfficeError(f"cannot be converted: LibreOffice does not start ({error}). {REMEDY}") from None


def _program() -> str:
    """The program itself, without the script around it, whose children would outlive a timeout."""
    found = Path(shutil.which("soffice") or "soffice").resolve()
    inner = found.with_name("soffice.bin")
    return str(inner if inner.is_file() else found)
