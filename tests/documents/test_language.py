"""documents/language.py: the language of a page's words."""

import pytest

from metaembed_demo.core.languages import language_name
from metaembed_demo.core.types import Word
from metaembed_demo.documents import language

BOX = (0.0, 0.0, 1.0, 1.0)
SENTENCES = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    "ja": "すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。",
    "zh": "人人生而自由，在尊严和权利上一律平等。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_enough(code: str) -> None:
    words = [Word(text, BOX) for text in SENTENCES[code].split()]
    assert language.of(words) == code
    assert language.of([Word(word.text.upper(), BOX, "ocr", 0.9) for word in words]) == code
    assert language_name(code) != code


@pytest.mark.parametrize(
    "text", ["", "12.3 % 4711 2024", "Ondara", "ABC-12", "p. 7", "Hallam & Reed", "\ud800 ☃"]
)
def test_too_little_or_no_sure_text_has_no_language(text: str) -> None:
    assert language.language(text) == ""


def test_labels_of_pictures_and_names_in_another_script_do_not_count() -> None:
    words = [Word(text, BOX) for text in SENTENCES["ja"].split()]
    labels = [Word("the opening hours of the museum", BOX, "visual")] * 9
    assert language.of([*words, *labels]) == "ja"
    assert language.of(labels) == ""
    assert language.language(SENTENCES["de"] + " 東京 ist eine Stadt.") == "de"
