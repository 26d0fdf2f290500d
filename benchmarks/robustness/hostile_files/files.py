"""Bad files of every kind, always the same ones: `python -m benchmarks.robustness.hostile_files.files
FOLDER [--seed N]`.

Writes some hundred files and manifest.json, which says for each what it is called and what is wrong with it:
cut off at every kind of boundary, flipped bits, other types than the name says, bombs, passwords, active
content and links to the outside, archives with paths that lead out of them, odd sizes, colours and texts.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import pdfs, pictures

FLIPS = 10  # files with flipped bits for each type
WHEN = (1980, 1, 1, 0, 0, 0)  # of all members of archives
MARKUP = (
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(2)> 'quoted' & more",
    "</script><script>alert(3)</script>",
    "{{7*7}} ${7*7} %s %n",
    "name\u202efdp.exe",
    "bell\x07 escape\x1b[31m",
    "x" * 180,
    "مستند عربي",
)


@dataclass(frozen=True)
class Bad:
    """One bad file. `kind` groups them; `name` is what a visitor's browser would call it."""

    kind: str
    what: str
    name: str
    content: bytes


def corpus(seed: int = 1) -> Iterator[Bad]:
    """All of them; the same for the same seed."""
    rng = random.Random(seed)
    whole = {".pdf": pdfs.good(3, pictures.sample()), **pictures.good()}
    whole[".zip"] = packed({f"inside{suffix}": content for suffix, content in whole.items()})
    yield from cut(whole)
    yield from flipped(whole, rng)
    yield from mistaken(whole, rng)
    for kind, what, content in pdfs.everything(rng):
        yield Bad(kind, what, "document.pdf", content)
    for suffix, kind, what, content in pictures.everything(rng):
        yield Bad(kind, what, f"picture{suffix}", content)
    for what, content in archives(whole, rng):
        yield Bad("archive", what, "archive.zip", content)
    for i, name in enumerate(MARKUP):
        suffix = (".png", ".pdf")[i % 2]
        yield Bad("name", f"a good file with a name of {len(name)} characters", name + suffix, whole[suffix])
        yield Bad("name", "an empty file with such a name", name + suffix, b"")


# What is done to good files

# Where the parts of a file begin.
MARKS = {
    ".pdf": (b"obj", b"stream\n", b"endstream", b"xref", b"trailer", b"startxref", b"%%EOF"),
    ".png": (b"IHDR", b"IDAT", b"IEND"),
    ".jpg": (b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda", b"\xff\xd9"),
    ".webp": (b"WEBP", b"VP8"),
    ".tif": (b"II*\0",),
    ".bmp": (b"BM",),
    ".gif": (b",", b"\0;"),
    ".heic": (b"meta", b"iloc", b"mdat"),
    ".avif": (b"meta", b"iloc", b"mdat"),
    ".jp2": (b"jp2c", b"\xff\x52", b"\xff\x90"),
    ".zip": (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"),
}


def cut(whole: dict[str, bytes]) -> Iterator[Bad]:
    """At, and just after, the first and last of each mark; at shares of the whole; a byte too early."""
    for suffix, content in whole.items():
        ends = {1, 4, len(content) // 4, len(content) // 2, len(content) * 9 // 10, len(content) - 1}
        for mark in MARKS[suffix]:
            first, last = content.find(mark), content.rfind(mark)
            ends |= {first, first + len(mark) + 2, last, last + len(mark) + 2} if first >= 0 else set()
        for end in sorted(end for end in ends if 0 < end < len(content)):
            yield Bad("cut off", f"after {end} of {len(content)} bytes", f"cut{suffix}", content[:end])
    pdf = whole[".pdf"]
    for share in (3, 5, 7, 9):
        ended = pdf[: len(pdf) * share // 10] + b"\nstartxref\n9\n%%EOF\n"
        yield Bad("cut off", f"after {share} tenths, with an end put on", "cut.pdf", ended)


def flipped(whole: dict[str, bytes], rng: random.Random) -> Iterator[Bad]:
    for suffix, content in whole.items():
        for turn in range(FLIPS):
            changed = bytearray(content)
            for _ in range(1 << (turn // 2)):
                at = rng.randrange(len(changed))
                changed[at] ^= 1 << rng.randrange(8)
            yield Bad("flipped bits", f"{1 << (turn // 2)} of them", f"flipped{suffix}", bytes(changed))


def mistaken(whole: dict[str, bytes], rng: random.Random) -> Iterator[Bad]:
    suffixes = list(whole)
    for i, suffix in enumerate(suffixes):
        for other in (suffixes[i - 1], suffixes[i - 3]):
            yield Bad("type", f"really a {other}", f"mistaken{suffix}", whole[other])
        yield Bad("type", "nothing but its first bytes", f"head{suffix}", whole[suffix][:8])
        yield Bad(
            "type", "its first bytes, then noise", f"noise{suffix}", whole[suffix][:16] + rng.randbytes(900)
        )
    for what, content in {
        "a web page": b"<!DOCTYPE html><script>alert(1)</script>",
        "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "PostScript": b"%!PS-Adobe-3.0\n{} loop",
        "a program": b"\x7fELF" + bytes(60),
        "a Windows program": b"MZ" + bytes(60),
        "a shell script": b"#!/bin/sh\nrm -rf /\n",
        "a gzip archive": b"\x1f\x8b\x08" + bytes(30),
        "a RAR archive": b"Rar!\x1a\x07\x01\0",
        "a film": b"\0\0\0\x20ftypisom" + bytes(30),
        "a HEIC picture": b"\0\0\0\x20ftypheic" + bytes(30),
        "a pickle": b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        "zeros": bytes(5_000),
        "noise": rng.randbytes(5_000),
        "nothing": b"",
        "one byte": b"%",
        "two documents in one": b"%PDF-1.4\n" + whole[".png"] + whole[".pdf"],
    }.items():
        yield Bad("type", what, f"mistaken{rng.choice(suffixes)}", content)
    for suffix in (".exe", ".html", "", ".pdf.exe", ".docx"):
        yield Bad("type", f"a PDF called {suffix or 'nothing'}", f"document{suffix}", whole[".pdf"])


# Archives


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, WHEN)
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def archives(whole: dict[str, bytes], rng: random.Random) -> Iterator[tuple[str, bytes]]:
    png, pdf = whole[".png"], whole[".pdf"]
    for name in (
        "../../../tmp/outside.png",
        "/etc/absolute.png",
        "..\\..\\windows\\back.png",
        "C:\\drive.png",
        "//server/share/x.png",
        "a/../../b.png",
        "...png",
        "con.png",
        "folder.png/inner.png",
        "x" * 60_000 + ".png",
        "/".join(["deep"] * 900) + "/x.png",
        *(f"{name}.png" for name in MARKUP),
    ):
        yield f"a member called {name[:60]!r}", packed({name: png, "good.png": whole[".png"]})
    for target in ("/etc/passwd", "../../../../etc/hostname", "itself.png"):
        link = zipfile.ZipInfo("link.png", WHEN)
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(link, target)
            archive.writestr(zipfile.ZipInfo("link.png/inner.png", WHEN), png)
        yield f"a link to {target}", buffer.getvalue()
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that is the point
        for content in (png, whole[".jpg"], pdf):
            archive.writestr(zipfile.ZipInfo("same.png", WHEN), content)
    yield "one name three times", twice.getvalue()
    yield "nothing", packed({})
    yield "nothing that can be read", packed({"notes.txt": b"words", "run.sh": b"rm -rf /"})
    yield "an archive in an archive", packed({"inner.zip": packed({"x.png": png})})
    yield "1,500 empty files", packed({f"{i}.png": b"" for i in range(1_500)})
    yield "300 MB of zeros", packed({"zeros.png": bytes(300 << 20)})
    yield "six times 90 MB of zeros", packed({f"{i}.pdf": bytes(90 << 20) for i in range(6)})
    for method, name in (
        (zipfile.ZIP_BZIP2, "bzip2"),
        (zipfile.ZIP_LZMA, "LZMA"),
        (zipfile.ZIP_STORED, "nothing"),
    ):
        yield f"packed with {name}", packed({"x.png": png, "y.pdf": pdf}, method)
    yield (
        "bad files of each kind beside a good one",
        packed({"bad.pdf": pdf[:400], "bad.png": png[:60], "form.pdf": _worst(), "good.png": png}),
    )
    plain = packed({"x.png": png, "y.png": whole[".png"][:80]})
    yield "junk before it", b"PK\x03\x04" + rng.randbytes(500) + plain
    yield "a comment of 65,000 bytes", plain[:-2] + struct.pack("<H", 65_000) + rng.randbytes(65_000)
    yield from _altered(plain, rng)


def _worst() -> bytes:
    return next(made for _, what, made in pdfs.knots(random.Random(0)) if "forms" in what)


def _altered(plain: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """A field of the first entry in the directory, and of its header, changed."""
    directory = plain.index(b"PK\x01\x02")
    for what, at, in_header, value in (
        ("a flag for a password", 8, 6, b"\x01\0"),
        ("an unknown method", 10, 8, b"\x63\0"),
        ("a wrong checksum", 16, 14, b"\1\2\3\4"),
        ("a packed size of 4 GB", 20, 18, b"\xfe\xff\xff\xff"),
        ("an unpacked size of 4 GB", 24, 22, b"\xfe\xff\xff\xff"),
        ("an unpacked size of 9 bytes", 24, 22, b"\x09\0\0\0"),
        ("a name of 65,535 bytes", 28, 26, b"\xff\xff"),
        ("an extra field of 65,535 bytes", 30, 28, b"\xff\xff"),
    ):
        changed = bytearray(plain)
        changed[directory + at : directory + at + len(value)] = value
        yield f"{what} in its directory", bytes(changed)
        changed[in_header : in_header + len(value)] = value
        yield f"{what} everywhere", bytes(changed)
    end = plain.index(b"PK\x05\x06")
    for what, at, value in (
        ("65,535 entries", 8, b"\xff\xff\xff\xff"),
        ("a directory of 4 GB", 12, b"\xfe\xff\xff\xff"),
        ("a directory beyond its end", 16, b"\xfe\xff\xff\x7f"),
    ):
        yield f"it says {what}", plain[: end + at] + value + plain[end + at + len(value) :]
    here = plain[:directory] + plain[directory:end] * 40 + plain[end:]
    fields = struct.pack("<HHI", 80, 80, (end - directory) * 40)
    at = here.index(b"PK\x05\x06") + 8
    yield "80 entries over the same data", here[:at] + fields + here[at + 8 :]
    yield "a directory of noise", plain[: directory + 4] + rng.randbytes(end - directory - 4) + plain[end:]


def write(folder: Path, seed: int = 1) -> list[dict[str, str]]:
    """Write the corpus into `folder`, which is made. Returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = []
    for number, bad in enumerate(corpus(seed)):
        file = f"{number:04d}{Path(bad.name).suffix[:8]}"
        (folder / file).write_bytes(bad.content)
        manifest.append(
            {"file": file, "kind": bad.kind, "what": bad.what, "name": f"{number:04d}-{bad.name}"}
        )
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{len(write(options.folder, options.seed))} files in {options.folder}")


if __name__ == "__main__":
    main()
