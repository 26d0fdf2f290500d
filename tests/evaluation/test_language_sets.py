"""The dev sets in other languages: which headings ask, that they are left out, PDFs with a text layer."""

from __future__ import annotations

import gettext
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from benchmarks.quality import devsets, language_sets, wesnoth
from metaembed_demo.evaluation.beir import load_beir
from metaembed_demo.training.mini.corpora import HTML_SOURCES
from metaembed_demo.training.mini.dataset import HELD_OUT
from metaembed_demo.training.mini.translations import LANGUAGES, SOURCES, Page, Translations

TOOLS = ("knife", "chisel", "plane", "saw", "file", "drill")


def document(tool: str, source: str = "toy") -> Translations:
    english = (f"Sharpening the {tool} blade", f"{tool} stone water oil " * 30)
    german = (f"Die Klinge schleifen ({tool.upper()})", f"Stein und Wasser und Öl {tool[::-1]} " * 20)
    notes = {"en": ("Notes", "mind your hands " * 30), "de": ("Anmerkungen", "Vorsicht mit den Händen " * 30)}
    return Translations(source, f"{tool}.html", [{"en": english, "de": german}, notes])


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> str:
    font = Path(str(pdfmetrics.__file__)).parents[1] / "fonts" / "Vera.ttf"
    pdfmetrics.registerFont(TTFont("Vera", font))
    monkeypatch.setattr(language_sets, "font", lambda data: "Vera")
    return "Vera"


def test_only_headings_that_say_something_ask() -> None:
    for english, other, language, tells in (
        ("Configuring the network", "Das Netzwerk einrichten", "de", True),
        ("Configuring the network", "设置网络环境", "zh", True),
        ("Configuring the network", "网络", "zh", False),  # too short
        ("Configuring the network", "Configuring the Network", "de", False),  # not translated
        ("See also the examples", "Siehe auch die Beispiele", "de", False),
        ("Networks", "Netzwerke und mehr", "de", False),
    ):
        assert language_sets.telling(english, other, language) is tells, english


def test_how_much_of_a_heading_a_text_says() -> None:
    assert language_sets.said("Das Netzwerk prüfen", "so wird das Netzwerk gebaut", "de") == pytest.approx(
        2 / 3
    )
    assert language_sets.said("设置网络", "网络可以设置", "zh") == pytest.approx(2 / 3)


def test_a_long_section_is_answered_by_each_of_its_pages(tmp_path: Path, face: str) -> None:
    english, german = ("Sharpening a blade", "stone " * 900), ("Klingen schleifen", "Stein " * 900)
    long = Translations("toy", "knife.html", [{"en": english, "de": german}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_sets, "dev_documents", lambda data: [long])
        found = language_sets.SETS["de"](tmp_path, tmp_path)
    assert [row["text"] for row in found.queries] == ["Klingen schleifen"]
    assert len(found.frozen) == len(found.qrels) > 2


def test_questions_belong_to_one_page_and_sources_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_sets, "PAGES", 4)
    twice = [document("awl", "other"), document("awl", "copy")]  # the same heading on two pages
    documents = [*map(document, TOOLS), document("rasp", "other"), document("adze", "other"), *twice]
    asked = language_sets.chosen(documents, "de")
    assert sorted(row.document.source for row in asked) == ["other", "other", "toy", "toy"]
    assert [row.sections for row in asked] == [[0]] * 4
    for row in asked:
        assert "awl" not in row.document.name
        assert row.headings("en")[0] not in row.page.text()


def test_a_full_page_stays_one_page(tmp_path: Path, face: str) -> None:
    parts = [(at, f"Kopf {at}", "Wort") for at in range(90)]
    full = language_sets.Asked(document("saw"), Page("de", parts), [])
    language_sets.draw(tmp_path / "a.pdf", face, [full, full])
    with pdfium.PdfDocument(tmp_path / "a.pdf") as pdf:
        assert [page.get_textpage().get_text_range().count("Kopf") for page in pdf] == [90, 90]


def test_own_language_and_english_ask_for_the_same_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: str
) -> None:
    monkeypatch.setattr(language_sets, "dev_documents", lambda data: [document(tool) for tool in TOOLS])
    folders = {name: tmp_path / name for name in ("de", "de-en")}
    for name, folder in folders.items():
        digest = devsets.make(folder, tmp_path, language_sets.SETS[name])
        assert digest == devsets.make(folder, tmp_path, language_sets.SETS[name])
    german, english = map(load_beir, folders.values())
    assert german.qrels == english.qrels
    assert len(german.queries) == len(TOOLS)
    for key, (corpus_id,) in ((key, list(judged)) for key, judged in german.qrels.items()):
        name, number = corpus_id.split("#")
        with pdfium.PdfDocument(folders["de"] / name) as pdf:
            text = " ".join(pdf[int(number) - 1].get_textpage().get_text_range().split())
        question = german.queries[key].text
        tool = english.queries[key].text.split()[2]
        assert question == f"Die Klinge schleifen ({tool.upper()})"
        assert question not in text
        assert text.count(f"Stein und Wasser und Öl {tool[::-1]}") == 20
        assert "Anmerkungen" in text


def test_sources_for_dev_sets_alone_are_unknown_to_training() -> None:
    assert not {*language_sets.WHOLE, wesnoth.PACKAGE} & ({*HTML_SOURCES, *SOURCES} - {*HELD_OUT})
    assert set(language_sets.SETS) == {*LANGUAGES, *(f"{language}-en" for language in LANGUAGES)}
    assert set(language_sets.SETS) < set(devsets.SETS)


class Catalogue(gettext.NullTranslations):
    def __init__(self, known: dict[str, str]) -> None:
        super().__init__()
        self.known = known

    def gettext(self, message: str) -> str:
        return self.known.get(message, message)


CONFIGURATION = """#textdomain wesnoth-units
[unit_type]
    name= _ "female^Elvish Scout"
    cost=18
    description= _ "She rides <italic>text='fast'</italic>, and says ""no""." + "{SPACE}" + _ "
A second paragraph."
    [attack]
        description=_"sword"
    [/attack]
[/unit_type]
[unit_type]
    id=undescribed
    name= _ "Bat"
[/unit_type]
"""


def test_wesnoths_help_is_read_and_translated() -> None:
    ((name, text),) = wesnoth.parse(CONFIGURATION)
    assert name == "female^Elvish Scout"
    assert text[1:] == ["\nA second paragraph."]
    assert wesnoth.plain(text[0]) == 'She rides fast, and says "no".'
    known = {text[0]: "Schnell <bold>text='reitend'</bold>.", text[1]: "Noch ein Absatz."}
    catalogue = Catalogue({name: "female^Elfenspäherin"} | known)
    assert wesnoth.translated([Catalogue({}), catalogue], name, text) == (
        "Elfenspäherin",
        "Schnell reitend. Noch ein Absatz.",
    )
    assert wesnoth.translated([catalogue], name, [*text, "unknown"]) is None
