"""Documents that LibreOffice converts: with it, with a program in its place, and without."""

from __future__ import annotations

import shutil
import socket
import zipfile
from pathlib import Path

import pytest

from metaembed_demo.core.config import LIMITS
from metaembed_demo.documents import office
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.sandbox.client import Rendered, read_files
from tests.support.sample_files import make_pdf, only_problem, split

ADVICE = "export it as PDF"
OOXML = "http://schemas.openxmlformats.org"
PARTS = f"{OOXML}/officeDocument/2006/relationships"
TYPES = (
    f'<Types xmlns="{OOXML}/package/2006/content-types"><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/%s" ContentType="application/vnd.openxmlformats-officedocument.%s.main+xml"/>'
    "%s</Types>"
)
SHEET = (
    '<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.spreadsheetml.worksheet+xml"/>'
)
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
CELLS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def related(target: str, kind: str) -> str:
    return (
        f'<Relationships xmlns="{OOXML}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{PARTS}/{kind}" Target="{target}"/></Relationships>'
    )


def docx(path: Path, text: str = "Minutes of the beekeepers") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", TYPES % ("word/document.xml", "wordprocessingml.document", ""))
        packed.writestr("_rels/.rels", related("word/document.xml", "officeDocument"))
        body = f"<w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>"
        packed.writestr("word/document.xml", f'<w:document xmlns:w="{WORD}">{body}</w:document>')
    return path


def xlsx(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", TYPES % ("xl/workbook.xml", "spreadsheetml.sheet", SHEET))
        packed.writestr("_rels/.rels", related("xl/workbook.xml", "officeDocument"))
        packed.writestr("xl/_rels/workbook.xml.rels", related("worksheets/sheet1.xml", "worksheet"))
        sheets = '<sheets><sheet name="Honey" sheetId="1" r:id="rId1"/></sheets>'
        packed.writestr("xl/workbook.xml", f'<workbook xmlns="{CELLS}" xmlns:r="{PARTS}">{sheets}</workbook>')
        row = '<row r="1"><c r="A1" t="inlineStr"><is><t>Harvest of lime honey</t></is></c></row>'
        packed.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{CELLS}"><sheetData>{row}</sheetData></worksheet>'
        )
    return path


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "is_installed", lambda: False)


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program named soffice, first on the path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "soffice").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / "soffice").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that needs a second start, writes its arguments to the file returned and makes 2 pages."""
    made = make_pdf(tmp_path / "made.pdf", 2)
    log = tmp_path / "arguments"
    stand_in(
        tmp_path,
        monkeypatch,
        f'[ -e "$HOME/once" ] || {{ touch "$HOME/once"; exit 81; }}\necho "$@" > {log}\n'
        f'while [ $# -gt 1 ]; do [ "$1" = --outdir ] && out=$2; shift; done\n'
        f'mkdir -p "$out" && cp {made} "$out/document.pdf"',
    )
    return log


def test_documents_are_named_with_a_remedy_where_they_cannot_be_converted(
    tmp_path: Path, without: None
) -> None:
    docx(tmp_path / "letter.docx")
    xlsx(tmp_path / "table.xlsx")
    (tmp_path / "page.htm").write_bytes(b"<!DOCTYPE html><html><body>Hello</body></html>")
    (tmp_path / "notes.md").write_bytes("# Notizen über Äpfel".encode())
    (tmp_path / "notes.txt").write_bytes("\ufeffutf-16 notes".encode("utf-16"))
    (tmp_path / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (tmp_path / "flyer").write_bytes(b"{\\rtf1 Hello}")
    pages, problems = split(uploads([tmp_path]))
    assert not pages
    assert [problem.source for problem in problems] == sorted(path.name for path in tmp_path.iterdir())
    assert [problem.message for problem in problems if ADVICE not in problem.message] == []


@pytest.mark.parametrize("head", ["", "<?xml version='1.0'?>\n<!-- made by hand -->\n"])
def test_a_drawing_is_never_converted(tmp_path: Path, converter: Path, head: str) -> None:
    (tmp_path / "drawing.svg").write_text(f'{head}<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert f"is an SVG drawing, which is not read here: {ADVICE}" in only_problem(tmp_path / "drawing.svg")
    assert not converter.exists()


@pytest.mark.parametrize("name", ["letter.docx", "letter", "letter.pdf"])
def test_a_document_becomes_pages_under_its_own_name(tmp_path: Path, converter: Path, name: str) -> None:
    pages, problems = split(uploads([docx(tmp_path / name)]))
    assert not problems
    assert [(page.source, page.number) for page in pages] == [(name, 1), (name, 2)]
    assert "--headless" in converter.read_text()
    assert "pdf:writer_pdf_Export" in converter.read_text()


def test_a_document_in_an_archive(tmp_path: Path, converter: Path) -> None:
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as packed:
        packed.write(docx(tmp_path / "letter.docx"), "inner/letter.docx")
    pages, problems = split(uploads([tmp_path / "box.zip"]))
    assert not problems
    assert [page.source for page in pages] == ["box.zip/inner/letter.docx"] * 2


def test_a_document_that_is_not_whole_is_not_handed_on(tmp_path: Path, converter: Path) -> None:
    whole = docx(tmp_path / "whole.docx", "word " * 5000).read_bytes()
    at = whole.index(b"word/document.xml") + 60
    (tmp_path / "flipped.docx").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    assert "is cut off or damaged" in only_problem(tmp_path / "flipped.docx")
    assert ADVICE in only_problem(tmp_path / "flipped.docx")
    small = LIMITS.model_copy(update={"max_archive_bytes": 10_000})
    assert "unpacks to" in only_problem(tmp_path / "whole.docx", small)
    with zipfile.ZipFile(tmp_path / "locked.odt", "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        packed.writestr("META-INF/manifest.xml", "<manifest:encryption-data/>")
    assert "is protected by a password" in only_problem(tmp_path / "locked.odt")
    assert not converter.exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "is damaged or protected, and LibreOffice cannot open it"),
        ("exec sleep 9", "takes LibreOffice more than 0.75 s"),
    ],
)
def test_a_conversion_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    limits = LIMITS.model_copy(update={"seconds_per_page": 1.0})
    message = only_problem(docx(tmp_path / "letter.docx"), limits)
    assert said in message
    assert ADVICE in message


@pytest.mark.slow
def test_libreoffice_itself_if_it_is_here(tmp_path: Path) -> None:
    """In the reading process, with its limits; without LibreOffice each file is told."""
    secret, folder = tmp_path / "secret.txt", tmp_path / "files"
    folder.mkdir()
    secret.write_text("words of another file")
    docx(folder / "letter.docx")
    xlsx(folder / "table.xlsx")
    (folder / "notes.md").write_bytes("# Obst\n\nÄpfel und Birnen".encode())
    (folder / "latin.txt").write_bytes("Grüße vom Imker".encode("cp1252"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        host = f"http://127.0.0.1:{server.getsockname()[1]}"
        links = f'<img src="{host}/a.png"><iframe src="{secret.as_uri()}"></iframe>'
        (folder / "page.html").write_text(f"<html><body><h1>Smoke calms bees</h1>{links}</body></html>")
        found = list(read_files(uploads([folder])))
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()
    if shutil.which("soffice"):
        told = {item.page.source: item.page.text for item in found if isinstance(item, Rendered)}
        assert told["letter.docx"] == "Minutes of the beekeepers"
        assert "Harvest of lime honey" in told["table.xlsx"]
        assert "Äpfel und Birnen" in told["notes.md"]
        assert told["latin.txt"] == "Grüße vom Imker"
        assert "Smoke calms bees" in told["page.html"]
        assert "another" not in "".join(told.values())
    else:
        messages = [item.message for item in found if not isinstance(item, Rendered)]
        assert len(messages) == 5
        assert all(ADVICE in message for message in messages)
