"""A typed letter that went through a scanner: pictures of two pages, no text layer."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

import numpy as np
import reportlab
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from .base import CORPUS

DPI = 150
SIZE = (round(8.27 * DPI), round(11.69 * DPI))
FONTS = Path(reportlab.__file__).parent / "fonts"
PAGES = (
    """Margarethe Sund
The Lock-keeper's House
Canal Bank 1, Upper Mere

                                          19 November 1987


Dear Harriet,

thank you for the parcel. The marmalade survived the journey, the teapot did not, but the lid is whole and I have put it on the sugar bowl, where it looks as if it had always lived there.

You ask whether I mean to stay on here by myself now that Anders is gone. I do. The lock has to be worked twice a day, three times in August, and the Waterways Board has agreed in writing that I may keep the house as long as I keep the gates. My wage is to be 212 pounds a month, paid on the first, with coal for the stove on top of it. It is not a fortune. It is, however, mine.

The flood of October reached the fourth step. I had carried the piano stool, the hens and your mother's portrait up to the attic, in that order, and sat there with a candle and a tin of pears until Mr Pettifer came by in his rowing boat and asked through the skylight if I wanted anything from the village. I asked for matches and a newspaper. He brought both, dry, inside his hat.

One gate was damaged by a drifting tree and must be replaced in spring. It is oak, nine feet high, and will be brought by barge from the yard at Thornby.""",
    """Now to business. You inherit, as you know, the walnut desk and everything in it except the blue notebook, which is to go to the county museum with the two lanterns. The key is taped under the left-hand drawer. Do not let your brother force the lock, he has no patience with old things.

I have also found grandfather's log of the winter of 1947. He writes that the canal was frozen for fifty-one days, that boys skated from here to the brewery, and that he broke the ice round the swans every morning with a boat-hook. I have copied the pages out for your children and will send them at Christmas.

If you come in April, take the slow train and get out at Mere Halt, not at Upper Mere itself, where there is no longer anybody to sell or look at a ticket. From the Halt it is twenty minutes along the towpath. Bring boots. Do not bring another teapot.

The hens send their regards. Six eggs on Sunday, which for November is showing off.


                              Your affectionate aunt,

                              Margarethe


P.S. Should the telephone not answer, try the lock hut in the evening: Upper Mere 44, and let it ring, I have to come down a ladder.""",
)


def main() -> None:
    canvas = Canvas(str(CORPUS / "letter-scan.pdf"), pagesize=A4, invariant=1)
    canvas.setTitle("Letter")
    canvas.setAuthor("MetaEmbed demo")
    for number, text in enumerate(PAGES):
        canvas.drawImage(ImageReader(scan(text, number)), 0, 0, *A4)
        canvas.showPage()
    canvas.save()


def scan(text: str, number: int) -> io.BytesIO:
    """The typed page, a little askew, yellowed, grainy, as a JPEG."""
    rng = np.random.default_rng(number)
    paper = Image.new("L", SIZE, 244)
    draw = ImageDraw.Draw(paper)
    font = ImageFont.truetype(str(FONTS / "Vera.ttf"), 22)
    y = 130
    for paragraph in text.split("\n"):
        for line in textwrap.wrap(paragraph, 76, drop_whitespace=False) or [""]:
            # A typewriter's lines do not stand quite straight.
            draw.text(
                (120, y + int(rng.integers(-1, 2))), line.rstrip(), font=font, fill=int(rng.integers(25, 60))
            )
            y += 33
    paper = paper.rotate((0.7, -0.5)[number], resample=Image.Resampling.BICUBIC, fillcolor=236)
    soft = np.asarray(paper.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32)
    shade = soft + rng.normal(0, 5, soft.shape) - np.linspace(0, 14, soft.shape[1])[None]
    grey = np.clip(shade, 0, 255)
    tinted = np.stack([grey, grey * 0.985, grey * 0.93], axis=-1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(tinted).save(stream, "JPEG", quality=70)
    stream.seek(0)
    return stream
