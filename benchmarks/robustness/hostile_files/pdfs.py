"""Bad and odd PDFs, written by hand object by object; see hostile.py."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Iterator

from reportlab.lib import pdfencrypt
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

Made = tuple[str, str, bytes]  # kind, what it is, the file
HELLO = b"BT /F 12 Tf 20 60 Td (A page of plain words to read) Tj ET"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
CATALOG = b"<< /Type /Catalog /Pages 2 0 R %s >>"


def pdf(objects: dict[int, bytes], trailer: bytes = b"") -> bytes:
    """A PDF of the given objects, whose root is object 1, with a correct cross-reference table."""
    out, offsets = bytearray(b"%PDF-1.7\n"), {}
    for number, body in objects.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(out), max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        out += b"%010d 00000 n \n" % offsets[number] if number in offsets else b"0000000000 65535 f \n"
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start)
    return bytes(out)


def stream(content: bytes, extra: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), extra, content)


def packed(content: bytes, extra: bytes = b"") -> bytes:
    return stream(zlib.compress(content, 9), b"/Filter /FlateDecode " + extra)


def page(
    box: bytes = b"[0 0 200 100]", more: bytes = b"", resources: bytes = b"/Font << /F 4 0 R >>"
) -> bytes:
    return b"<< /Type /Page /Parent 2 0 R /MediaBox %s /Contents 5 0 R /Resources << %s >> %s >>" % (
        box,
        resources,
        more,
    )


def one(
    content: bytes = stream(HELLO),
    its_page: bytes | None = None,
    catalog: bytes = b"",
    more: dict[int, bytes] | None = None,
    font: bytes = FONT,
    trailer: bytes = b"",
) -> bytes:
    """A PDF of one page; objects from 6 on are in `more`."""
    objects = {
        1: CATALOG % catalog,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: page() if its_page is None else its_page,
        4: font,
        5: content,
        **(more or {}),
    }
    return pdf(objects, trailer)


def good(pages: int = 3, picture: object = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(300, 200), invariant=1, **options)
    for number in range(1, pages + 1):
        canvas.drawString(20, 160, f"Sheet {number} of a manual about kettles and lanterns")
        if picture is not None and number == 1:
            canvas.drawImage(ImageReader(picture), 20, 20, 120, 90)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def everything(rng: random.Random) -> Iterator[Made]:
    for part in (encrypted, active, sized, coloured, empty, written, knots, bombs, broken):
        yield from part(rng)


def encrypted(_: random.Random) -> Iterator[Made]:
    for strength in (40, 128):
        lock = pdfencrypt.StandardEncryption("open sesame", "owner", strength=strength)
        yield "encrypted", f"a password of {strength} bits", good(2, encrypt=lock)
    for what, entry in {
        "an unknown handler": b"<< /Filter /Vault /V 9 >>",
        "garbage keys": b"<< /Filter /Standard /V 2 /R 3 /Length 128 /O (x) /U (y) /P -4 >>",
        "a key of -8 bits": b"<< /Filter /Standard /V 2 /R 3 /Length -8 /O (%s) /U (%s) /P -4 >>"
        % (b"o" * 32, b"u" * 32),
        "AES without its keys": b"<< /Filter /Standard /V 5 /R 6 /Length 256 /P -1 >>",
        "an entry that is missing": b"99 0 R",
    }.items():
        yield "encrypted", what, one(trailer=b"/Encrypt %s /ID [<00> <00>]" % entry)


def active(_: random.Random) -> Iterator[Made]:
    actions = {
        "JavaScript": b"/S /JavaScript /JS (app.alert\\(1\\); while\\(true\\){})",
        "a program to launch": b"/S /Launch /F (/bin/sh) /Win << /F (cmd.exe) /P (/c calc) >>",
        "an address to open": b"/S /URI /URI (http://127.0.0.1:9/opened)",
        "a form to submit": b"/S /SubmitForm /F (http://127.0.0.1:9/form) /Fields [] /Flags 4",
        "data to import": b"/S /ImportData /F (/etc/hostname)",
        "another file to go to": b"/S /GoToR /F (//127.0.0.1/share/x.pdf) /D [0 /Fit]",
        "an action that follows itself": b"/S /Named /N /NextPage /Next 6 0 R",
    }
    for what, action in actions.items():
        body = b"<< /Type /Action %s >>" % action
        yield "active", f"{what}, on opening", one(catalog=b"/OpenAction 6 0 R", more={6: body})
        yield (
            "active",
            f"{what}, on the page",
            one(its_page=page(more=b"/AA << /O 6 0 R /C 6 0 R >>"), more={6: body}),
        )
    for what, path in {"a file": b"/etc/hostname", "an address": b"http://127.0.0.1:9/s"}.items():
        outside = b"<< /Length 0 /F (%s) /FFilter /FlateDecode >>\nstream\n\nendstream" % path
        yield "active", f"its content in {what} outside", one(outside)
    xfa = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>'
    yield (
        "active",
        "an XFA form with an outside entity",
        one(catalog=b"/AcroForm << /XFA 6 0 R /Fields [] >>", more={6: stream(xfa)}),
    )
    yield (
        "active",
        "metadata with an outside entity",
        one(catalog=b"/Metadata 6 0 R", more={6: stream(xfa, b"/Type /Metadata /Subtype /XML")}),
    )
    names = b"/Names << /EmbeddedFiles << /Names [(a) 6 0 R] >> >>"
    held = b"<< /Type /Filespec /F (../../etc/cron.d/x) /EF << /F 7 0 R >> >>"
    yield "active", "a file inside", one(catalog=names, more={6: held, 7: stream(b"MZ" + bytes(99))})
    media = b"/Annots [<< /Type /Annot /Subtype /RichMedia /Rect [0 0 9 9] /RichMediaContent 6 0 R >>]"
    yield "active", "a film on the page", one(its_page=page(more=media), more={6: b"<< /Assets 6 0 R >>"})


def sized(_: random.Random) -> Iterator[Made]:
    for box in (
        "[0 0 0 0]",
        "[0 0 -200 -100]",
        "[200 100 0 0]",
        "[0 0 1e9 1e9]",
        "[0 0 1e39 1]",
        "[0 0 14400 14400]",
        "[0 0 99999 1]",
        "[0 0 1 99999]",
        "[0 0 0.001 0.001]",
        "[0 0 nan inf]",
        "[(a) (b) (c) (d)]",
        "[0 0]",
        "9 0 R",
        "null",
        "[-2147483649 0 2147483648 100]",
    ):
        yield "dimensions", f"a media box of {box}", one(its_page=page(box.encode()))
    for more in (
        "/Rotate 45",
        "/Rotate -99999999999",
        "/UserUnit 1000000",
        "/UserUnit -1",
        "/CropBox [900 900 950 950]",
        "/CropBox [50 50 50 50]",
        "/CropBox [0 0 0.0001 100]",
    ):
        yield "dimensions", f"a page with {more}", one(its_page=page(more=more.encode()))


def coloured(_: random.Random) -> Iterator[Made]:
    spaces = {
        "Separation": b"[/Separation /Gold /DeviceCMYK << /FunctionType 2 /Domain [0 1] /C0 [0 0 0 0] "
        b"/C1 [0 .2 1 0] /N 1 >>]",
        "DeviceN of 40": b"[/DeviceN [%s] /DeviceCMYK 9 0 R]" % b" ".join(b"/C%d" % i for i in range(40)),
        "Lab": b"[/Lab << /WhitePoint [0.9505 1 1.089] /Range [-128 127 -128 127] >>]",
        "Lab without white": b"[/Lab << /WhitePoint [0 0 0] >>]",
        "CalRGB": b"[/CalRGB << /WhitePoint [1 1 1] /Gamma [0 0 0] >>]",
        "Indexed out of range": b"[/Indexed /DeviceRGB 4000000000 <00>]",
        "Indexed in itself": b"8 0 R",
        "a broken ICC profile": b"[/ICCBased 7 0 R]",
        "Pattern": b"/Pattern",
        "one unknown": b"/Octarine",
    }
    for what, space in spaces.items():
        picture = stream(
            bytes(range(48)) * 4,
            b"/Type /XObject /Subtype /Image /Width 8 /Height 8 /BitsPerComponent 8 /ColorSpace 8 0 R",
        )
        objects = {6: picture, 7: stream(b"acsp" * 40, b"/N 3"), 8: space}
        shown = page(resources=b"/Font << /F 4 0 R >> /XObject << /I 6 0 R >>")
        yield (
            "colours",
            f"a picture in {what}",
            one(stream(b"q 100 0 0 80 10 10 cm /I Do Q " + HELLO), shown, more=objects),
        )
    for bits, filters in ((3, b""), (64, b""), (8, b"/Filter /JPXDecode"), (1, b"/Filter /CCITTFaxDecode")):
        extra = b"/Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceRGB /BitsPerComponent %d %s" % (
            bits,
            filters,
        )
        shown = page(resources=b"/XObject << /I 6 0 R >>")
        yield (
            "colours",
            f"a picture of {bits} bits {filters.decode()}".strip(),
            one(stream(b"q 100 0 0 80 10 10 cm /I Do Q"), shown, more={6: stream(bytes(range(200)), extra)}),
        )


def empty(_: random.Random) -> Iterator[Made]:
    tree = {1: CATALOG % b"", 3: page(), 4: FONT, 5: stream(HELLO)}
    for what, pages in {
        "no pages": b"<< /Type /Pages /Kids [] /Count 0 >>",
        "a count of -1": b"<< /Type /Pages /Kids [3 0 R] /Count -1 >>",
        "a count of a thousand millions": b"<< /Type /Pages /Kids [3 0 R] /Count 1000000000 >>",
        "pages that hold themselves": b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2 >>",
        "one page a hundred times": b"<< /Type /Pages /Kids [%s] /Count 100 >>" % (b"3 0 R " * 100),
        "kids that are missing": b"<< /Type /Pages /Kids [7 0 R 8 0 R] /Count 2 >>",
        "kids that are text": b"<< /Type /Pages /Kids (none) /Count 1 >>",
    }.items():
        yield "empty", what, pdf({**tree, 2: pages})
    yield "empty", "a blank page", one(stream(b""))
    yield "empty", "a page of spaces", one(stream(b"BT /F 12 Tf 20 60 Td (      ) Tj ET"))
    yield "empty", "a page without content", one(its_page=page().replace(b"/Contents 5 0 R", b""))
    yield "empty", "a catalog without pages", pdf({1: b"<< /Type /Catalog >>"})
    kids = b" ".join(b"%d 0 R" % (10 + i) for i in range(10_000))
    many = {2: b"<< /Type /Pages /Kids [%s] /Count 10000 >>" % kids}
    yield "empty", "10,000 pages", pdf({**tree, **many, **{10 + i: page() for i in range(10_000)}})


def written(_: random.Random) -> Iterator[Made]:
    """Text layers: letters of Helvetica that a ToUnicode map says to be something else."""
    texts = {
        "Arabic": "السلام عليكم ورحمة الله وبركاته",
        "Hebrew": "שלום עולם וברוכים הבאים",
        "Hebrew among Latin": "Invoice שלום 2024 עולם total",
        "vertical Japanese": "縦書きの日本語の文章です",
        "half surrogates": "\ud800\udc00\ud83d broken \udfff pair",
        "control characters": "null\0bell\x07escape\x1b[31m text",
        "direction marks": "invoice \u202efdp.exe\u202c and more",
        "no meaning": "\ue000\ue001\uf8ff\ufffd private letters",
        "combining marks": "Z" + "\u0301\u0316\u035c" * 40 + " zalgo",
        "markup": "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes' here",
    }
    for what, text in texts.items():
        data = text.encode("utf-16-be", "surrogatepass")
        units = [data[i : i + 2] for i in range(0, len(data), 2)][:200]
        rows = b"\n".join(b"<%04x> <%s>" % (i + 1, unit.hex().encode()) for i, unit in enumerate(units))
        table = (
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def\n"
            b"1 begincodespacerange <0000> <ffff> endcodespacerange\n%d beginbfchar\n%s\nendbfchar "
            b"endcmap end end"
        ) % (len(units), rows)
        wide = b"Identity-V" if what.startswith("vertical") else b"Identity-H"
        font = b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /%s /DescendantFonts [6 0 R] "
        font += b"/ToUnicode 7 0 R >>"
        inner = (
            b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Helvetica /CIDSystemInfo << /Registry (Adobe) "
        )
        inner += b"/Ordering (Identity) /Supplement 0 >> /DW 600 /FontDescriptor 8 0 R >>"
        codes = b"".join(b"%04x" % (i + 1) for i in range(len(units)))
        yield (
            "text",
            what,
            one(
                stream(b"BT /F 8 Tf 20 60 Td <%s> Tj ET" % codes),
                font=font % wide,
                more={
                    6: inner,
                    7: stream(table),
                    8: b"<< /Type /FontDescriptor /FontName /Helvetica /Flags 4 >>",
                },
            ),
        )
    row = b"1 0 0 1 5 %d Tm (some words in a row, and more in the next one) Tj "
    rows = packed(b"BT /F 3 Tf " + b"".join(row % (4 * i) for i in range(3240)) + b" ET")
    yield "text", "150,000 letters in 3,240 rows", one(rows, page(b"[0 0 200 12960]"))
    for what, text in {
        "a word of 200,000 letters": b"(%s) Tj" % (b"a" * 200_000),
        "a million letters": b"(%s) Tj" % (b"some words in a row, " * 50_000),
        "2,000 words on one spot": b"(word) Tj 0 0 Td " * 2_000,
        "a font of no size": b"/F 0 Tf (nothing) Tj",
        "a font as large as a town": b"/F 9999999 Tf (large) Tj",
        "a matrix of zeros": b"0 0 0 0 0 0 Tm (flat) Tj",
        "a matrix beyond numbers": b"1e38 0 0 1e38 1e38 1e38 Tm (far away from here) Tj",
        "a font that is missing": b"/Nowhere 12 Tf (unseen words on this page) Tj",
    }.items():
        yield "text", what, one(packed(b"BT /F 6 Tf 5 60 Td " + text + b" ET"))


def knots(_: random.Random) -> Iterator[Made]:
    """Small files that ask for much."""
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 200 100] /Resources << /XObject << /A %d 0 R >> >>"
    drawn, inside = stream(b"/A Do"), page(resources=b"/XObject << /A 6 0 R >>")
    itself = {6: stream(b"/A Do /A Do", form % 6)}
    yield "bomb", "a form in itself", one(drawn, inside, more=itself)
    laughs = {6 + i: stream(b"/A Do " * 12, form % (7 + i)) for i in range(8)}
    laughs[14] = stream(b"0 0 m 9 9 l S", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9]")
    yield "bomb", "12 forms in 12 forms, eight deep", one(drawn, inside, more=laughs)
    tiles = b"/PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep .0001 /YStep .0001 "
    tiles += b"/Resources << >>"
    yield (
        "bomb",
        "a pattern of 2,000 million tiles",
        one(
            stream(b"/Pattern cs /P scn 0 0 200 100 re f"),
            page(resources=b"/Pattern << /P 6 0 R >>"),
            more={6: stream(b"0 0 1 1 re f", tiles)},
        ),
    )
    shade = b"<< /ShadingType 1 /ColorSpace /DeviceRGB /Domain [0 1 0 1] /Function 7 0 R >>"
    sampled = b"/FunctionType 0 /Domain [0 1 0 1] /Range [0 1 0 1 0 1] /Size [60000 60000] /BitsPerSample 32"
    yield (
        "bomb",
        "a shading of 3,600 million samples",
        one(
            stream(b"/S sh"),
            page(resources=b"/Shading << /S 6 0 R >>"),
            more={6: shade, 7: stream(b"", sampled)},
        ),
    )
    deep = b"[" * 100_000 + b"]" * 100_000
    yield "bomb", "lists 100,000 deep", one(more={6: deep}, catalog=b"/X 6 0 R")
    yield "bomb", "dictionaries 20,000 deep", one(more={6: b"<< /A " * 20_000 + b"0" + b" >>" * 20_000})
    yield (
        "bomb",
        "a Type 4 function that never ends",
        one(
            stream(b"/S sh"),
            page(resources=b"/Shading << /S 6 0 R >>"),
            more={
                6: shade,
                7: stream(
                    b"{ " + b"dup mul " * 90_000 + b"}", b"/FunctionType 4 /Domain [0 1 0 1] /Range [0 1]"
                ),
            },
        ),
    )


def bombs(_: random.Random) -> Iterator[Made]:
    yield "bomb", "a content of 400 MB of spaces", one(packed(b" " * (400 << 20)))
    twice = zlib.compress(zlib.compress(bytes(200 << 20), 9), 9)
    yield "bomb", "a content packed twice", one(stream(twice, b"/Filter [/FlateDecode /FlateDecode]"))
    yield "bomb", "300,000 lines", one(packed(b"0 0 m 200 100 l S " * 300_000))
    yield "bomb", "100,000 saved states", one(packed(b"q " * 100_000))
    shown = page(resources=b"/XObject << /I 6 0 R >>")
    drawn = stream(b"q 100 0 0 80 10 10 cm /I Do Q")
    extra = b"/Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB /BitsPerComponent 8"
    for side in (7_000, 30_000, 2_000_000_000):
        body = packed(bytes(1 << 20), extra % (side, side))
        yield "bomb", f"a picture of {side} x {side}", one(drawn, shown, more={6: body})
    yield (
        "bomb",
        "20,000 small pictures",
        one(
            packed(b"q 1 0 0 1 3 3 cm /I Do Q " * 20_000),
            shown,
            more={
                6: stream(
                    b"\0", b"/Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8"
                )
            },
        ),
    )


def broken(rng: random.Random) -> Iterator[Made]:
    plain = one()
    length = b"/Length %d" % len(HELLO)
    for what, old, new in (
        ("a wrong startxref", b"startxref\n", b"startxref\n9"),
        ("a startxref of -1", b"startxref\n", b"startxref\n-1\n%"),
        ("no trailer", b"trailer", b"tailer "),
        ("an xref of garbage", b"xref\n0", b"xref\n99999999999 99999999999"),
        ("a root that is missing", b"/Root 1 0 R", b"/Root 77 0 R"),
        ("a stream longer than the file", length, b"/Length 99999999"),
        ("a stream of negative length", length, b"/Length -5"),
        ("an unknown filter", length, length + b" /Filter /Zap"),
        ("a hundred filters", length, length + b" /Filter [%s]" % (b"/ASCIIHexDecode " * 100)),
        ("objects without an end", b"endobj", b"endless"),
        ("a header from the future", b"%PDF-1.7", b"%PDF-9.9"),
        ("a previous table that is this one", b"/Size 6", b"/Size 6 /Prev 9"),
        ("a font that is a page", b"/F 4 0 R", b"/F 3 0 R"),
    ):
        assert old in plain, what
        yield "broken", what, plain.replace(old, new)
    table = plain.index(b"xref\n")
    loop = plain.replace(b"/Size 6", b"/Size 6 /Prev %d" % table)
    yield "broken", "a cross-reference table that goes in circles", loop
    yield "broken", "junk before the header", rng.randbytes(700) + plain
    yield "broken", "junk after the end", plain + rng.randbytes(3_000) + b"\n%%EOF"
    yield "broken", "ten updates of garbage", plain + b"xref\n0 1\ntrailer\n<< >>\nstartxref\n5\n%%EOF\n" * 10
