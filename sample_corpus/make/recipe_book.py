"""A small recipe book: a cover and seven recipes, warm colours and a serif face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A5
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, Paragraph, Table, TableStyle

from .base import CORPUS, styles

WIDTH, HEIGHT = A5
STYLE = styles("Times-Roman", "Times-Bold", 10, accent="#7c2d12")
CREAM, BROWN = HexColor("#fffaf0"), HexColor("#7c2d12")


@dataclass(frozen=True)
class Recipe:
    name: str
    origin: str
    facts: tuple[str, str, str]  # serves, work, waiting
    ingredients: tuple[tuple[str, str], ...]
    steps: tuple[str, ...]
    tip: str
    colour: str


RECIPES = (
    Recipe(
        "Leek and potato soup with brown butter",
        "Kitchen of a lighthouse, first night",
        ("serves 4", "20 min", "35 min"),
        (
            ("3", "leeks, white and pale green"),
            ("500 g", "floury potatoes"),
            ("80 g", "butter"),
            ("1 l", "vegetable stock"),
            ("1 pinch", "nutmeg"),
            ("4 slices", "rye bread"),
        ),
        (
            "Wash the leeks well, they hide sand. Slice them and soften them in half of the butter without browning.",
            "Add the diced potatoes and the stock. Simmer until a spoon cuts them, then crush some of them against the side of the pot; do not blend.",
            "Brown the remaining butter until it smells of hazelnuts and pour it over the bowls at the table.",
        ),
        "Left over? Thicken it with an egg and fry it as little cakes.",
        "#b45309",
    ),
    Recipe(
        "Shakshuka for a late morning",
        "Tunis, by way of a student flat",
        ("serves 2", "15 min", "20 min"),
        (
            ("1", "onion"),
            ("2", "red peppers"),
            ("1 tin", "peeled tomatoes"),
            ("4", "eggs"),
            ("1 tsp", "cumin"),
            ("1 tsp", "harissa"),
            ("50 g", "feta"),
        ),
        (
            "Fry onion and peppers slowly with cumin until they are sweet. Stir in harissa and tomatoes and let it thicken for ten minutes.",
            "Make four hollows with a ladle, break an egg into each, cover and wait until the white is firm and the yolk is not.",
            "Crumble feta on top. Eat from the pan, with flat bread and no cutlery.",
        ),
        "The sauce keeps for five days in a jar; only the eggs must be fresh.",
        "#b91c1c",
    ),
    Recipe(
        "Pumpkin risotto with sage",
        "Po valley, October",
        ("serves 4", "40 min", "none"),
        (
            ("320 g", "Carnaroli rice"),
            ("600 g", "pumpkin, in cubes"),
            ("1 glass", "dry white wine"),
            ("1.2 l", "hot broth"),
            ("12", "sage leaves"),
            ("60 g", "Parmesan"),
        ),
        (
            "Roast the pumpkin at 200 degrees until its edges are dark. Fry the sage crisp and keep the fat.",
            "Toast the rice in that fat until it clicks, pour in the wine, then broth by the ladle for sixteen to eighteen minutes, stirring.",
            "Take it off the fire, beat in cheese and half of the pumpkin, let it rest for two minutes and serve it so soft that it runs.",
        ),
        "It waits for nobody: call the guests to the table first.",
        "#c2410c",
    ),
    Recipe(
        "Rye sourdough in a tin",
        "A bakery in Turku",
        ("1 loaf", "30 min", "20 h"),
        (
            ("150 g", "rye starter"),
            ("500 g", "wholemeal rye flour"),
            ("420 ml", "lukewarm water"),
            ("12 g", "salt"),
            ("1 tbsp", "syrup"),
            ("2 tbsp", "caraway"),
        ),
        (
            "In the evening stir starter, half of the flour and all the water to a porridge and leave it covered until morning.",
            "Add the rest. It cannot be kneaded, only stirred. Press it into a buttered tin with wet hands and wait until it has grown by a third.",
            "Bake at 230 degrees for fifteen minutes, then at 180 for fifty. Do not cut it before the next day, however good it smells.",
        ),
        "The loaf is done when its core has 98 degrees.",
        "#78350f",
    ),
    Recipe(
        "Chickpea curry with spinach",
        "Grandmother Raman, Pune",
        ("serves 4", "15 min", "30 min"),
        (
            ("2 tins", "chickpeas"),
            ("400 ml", "coconut milk"),
            ("300 g", "spinach"),
            ("1 thumb", "ginger"),
            ("3 cloves", "garlic"),
            ("2 tsp", "garam masala"),
            ("1", "lime"),
        ),
        (
            "Warm the spices in oil until somebody in the next room asks what is for dinner. Add ginger and garlic for one minute.",
            "Pour in chickpeas and coconut milk and simmer gently, uncovered, for half an hour.",
            "Fold in the spinach by the handful until it collapses. Finish with lime juice and salt. Basmati goes with it.",
        ),
        "Vegan as it stands, and free of gluten.",
        "#4d7c0f",
    ),
    Recipe(
        "Plum cake on a tray",
        "Every village south of the Danube",
        ("20 pieces", "35 min", "2 h"),
        (
            ("500 g", "flour"),
            ("1 cube", "fresh yeast"),
            ("250 ml", "milk"),
            ("2 kg", "damsons"),
            ("100 g", "sugar"),
            ("1 tsp", "cinnamon"),
            ("100 g", "crumble"),
        ),
        (
            "Make a soft yeast dough and let it double beside the stove. Roll it out on a greased tray.",
            "Halve and stone the fruit and stand the halves upright, row by row, like roof tiles. There should be no dough to be seen.",
            "Scatter the crumble, bake at 190 degrees for forty minutes, and dust with sugar and cinnamon while it is hot.",
        ),
        "Whipped cream is not optional.",
        "#6b21a8",
    ),
    Recipe(
        "Cold cucumber soup",
        "For the hottest day of August",
        ("serves 4", "10 min", "2 h chilled"),
        (
            ("3", "cucumbers"),
            ("500 g", "thick yoghurt"),
            ("1 bunch", "dill"),
            ("1 clove", "garlic"),
            ("2 tbsp", "olive oil"),
            ("50 g", "walnuts"),
        ),
        (
            "Grate the cucumbers coarsely, salt them and let them drip in a sieve for a quarter of an hour.",
            "Stir them into the yoghurt with crushed garlic, chopped dill and oil. Thin with iced water until it pours.",
            "Chill it well, and the bowls as well. Strew with toasted walnuts at the last moment.",
        ),
        "Two ice cubes in each bowl, made from cucumber juice.",
        "#0f766e",
    ),
)


def main() -> None:
    canvas = Canvas(str(CORPUS / "recipe-book.pdf"), pagesize=A5, invariant=1)
    canvas.setTitle("Seven Pots")
    canvas.setAuthor("MetaEmbed demo")
    cover(canvas)
    canvas.showPage()
    for number, recipe in enumerate(RECIPES, 2):
        draw(canvas, recipe, number)
        canvas.showPage()
    canvas.save()


def cover(canvas: Any) -> None:
    canvas.setFillColor(BROWN)
    canvas.rect(0, 0, WIDTH, HEIGHT, stroke=0, fill=1)
    for i, recipe in enumerate(RECIPES):  # seven pots on a shelf
        x, y = 22 * mm + i % 4 * 28 * mm, 92 * mm - i // 4 * 34 * mm
        canvas.setFillColor(HexColor(recipe.colour))
        canvas.setStrokeColor(CREAM)
        canvas.roundRect(x, y, 20 * mm, 15 * mm, 3 * mm, stroke=1, fill=1)
        canvas.line(x - 3 * mm, y + 12 * mm, x, y + 12 * mm)
        canvas.line(x + 20 * mm, y + 12 * mm, x + 23 * mm, y + 12 * mm)
        canvas.roundRect(x - 1 * mm, y + 15.5 * mm, 22 * mm, 2.5 * mm, 1 * mm, stroke=1, fill=1)
        canvas.circle(x + 10 * mm, y + 20 * mm, 1.6 * mm, stroke=1, fill=1)
    canvas.setFillColor(CREAM)
    canvas.setFont("Times-Bold", 38)
    canvas.drawString(18 * mm, 160 * mm, "Seven Pots")
    canvas.setFont("Times-Italic", 13)
    canvas.drawString(18 * mm, 150 * mm, "what we cooked in the year without a restaurant")
    canvas.setFont("Times-Roman", 10)
    canvas.drawString(18 * mm, 20 * mm, "Collected by Leonie Marsh and Teodor Vukov · invented for this demo")


def draw(canvas: Any, recipe: Recipe, number: int) -> None:
    canvas.setFillColor(CREAM)
    canvas.rect(0, 0, WIDTH, HEIGHT, stroke=0, fill=1)
    canvas.setFillColor(HexColor(recipe.colour))
    canvas.rect(0, HEIGHT - 34 * mm, WIDTH, 34 * mm, stroke=0, fill=1)
    canvas.setFillColor(white)
    canvas.setFont("Times-Bold", 18)
    canvas.drawString(14 * mm, HEIGHT - 17 * mm, recipe.name)
    canvas.setFont("Times-Italic", 10.5)
    canvas.drawString(14 * mm, HEIGHT - 25 * mm, recipe.origin)
    canvas.setFillColor(HexColor(recipe.colour))
    canvas.setFont("Times-Bold", 10)
    for i, (name, value) in enumerate(zip(("Makes", "Work", "Waiting"), recipe.facts, strict=True)):
        canvas.drawString(14 * mm + i * 42 * mm, HEIGHT - 42 * mm, f"{name}: {value}")
    table = Table([[a, Paragraph(b, STYLE["cell"])] for a, b in recipe.ingredients], colWidths=[44, 100])
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (0, -1), "Times-Bold", 9),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ]
        )
    )
    Frame(14 * mm, 20 * mm, 50 * mm, HEIGHT - 68 * mm, leftPadding=0).addFromList(
        [Paragraph("You need", STYLE["h2"]), table], canvas
    )
    steps = [
        Paragraph("How to", STYLE["h2"]),
        *(Paragraph(f"<b>{i}</b>&nbsp; {step}", STYLE["body"]) for i, step in enumerate(recipe.steps, 1)),
    ]
    steps.append(Paragraph(f"<i>Tip:</i> {recipe.tip}", STYLE["body"]))
    Frame(68 * mm, 20 * mm, WIDTH - 80 * mm, HEIGHT - 68 * mm, leftPadding=0).addFromList(steps, canvas)
    canvas.setFillColor(BROWN)
    canvas.setFont("Times-Roman", 9)
    canvas.drawCentredString(WIDTH / 2, 10 * mm, str(number))
