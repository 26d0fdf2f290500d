"""The card of a hit as HTML: it escapes, draws what it is told, and fetches nothing. Its address."""

from __future__ import annotations

import re
from typing import Any

import pytest

from metaembed_demo.app.server import mcp_resources
from metaembed_demo.app.server.api import Api
from metaembed_demo.app.views.evidence_card import card
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.core.budgets import OURS, Budgets
from tests.support.dummy_encoder import DummyEncoder
from tests.support.small_app import samples

HOSTILE = "<script>alert('x')</script>\"&"
PICTURE = "data:image/webp;base64,AA"


def word(text: str, share: float, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "text": text,
        "kind": kind,
        "box": [0.1, 0.2, 0.35, 0.3],
        "share": share,
        "confidence": 1.0,
        **more,
    }


def told(*words: dict[str, Any], text: str = "dog", image: bool = False) -> dict[str, Any]:
    return {
        "query": {"text": text, "image": image},
        "budget": {"r_q": 8, "r_c": 16, "trained": True},
        "page": {"source": "dog.pdf", "page": 3, "title": "Dogs"},
        "explanation": {"unit": "part of the score", "words": list(words), "rest": 0.0},
    }


def drawn(answer: dict[str, Any], budgets: Budgets = OURS, link: str = "") -> str:
    words = (answer["explanation"] or {"words": []})["words"]
    gains = [2.0, *[0.25] * (len(budgets) - 1)]
    groups = [at % len(budgets) for at in range(len(words))]
    return card(answer, PICTURE, (sum(gains), "MaxSim"), gains, groups, budgets, link)


def test_words_have_their_shares_and_places() -> None:
    found = drawn(told(word("dog", 0.5), word("cat", 0.25), word("ox", 0.001), word("", -0.1, "visual")))
    rows = re.findall(r"<li data-word=\"\d\"><span>(\w+)</span>.*?<b>([\d.]+%)</b>", found)
    assert rows == [("dog", "50.0%"), ("cat", "25.0%")]  # a share below half a percent is not listed
    assert 'data-word="0" x="100.0" y="200.0" width="250.0" height="100.0"' in found
    assert "fill:var(--mark-1);opacity:0.75" in found
    assert "fill:var(--mark-2);opacity:0.45" in found
    assert found.count("<rect") == 2
    assert "<b>3.00</b> MaxSim <span>at 8 × 16 Meta Tokens" in found
    assert "2–4 <b>0.25</b>" in found
    assert "Part of the score." in found


def test_a_picture_is_outlined_and_its_labels_have_no_place() -> None:
    found = drawn(told(word("", 0.4, "visual"), word("coin", 0.2, "visual")))
    assert found.count("<rect") == 1
    assert 'class="outlined"' in found
    assert "<span>coin</span>" in found
    assert "Outlined: parts of a picture." in found


def test_nothing_of_strangers_is_markup() -> None:
    answer = told(word(HOSTILE, 0.5, "ocr", confidence=0.4), text=HOSTILE)
    answer["page"] |= {"source": HOSTILE, "title": HOSTILE}
    found = mcp_resources.view(drawn(answer, link=f"http://a/?q={HOSTILE}"))
    assert HOSTILE not in found
    assert found.count("<script>") == 1  # the card's own
    assert found.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;") == 6
    assert "class=doubt" in found


def test_it_fetches_nothing() -> None:
    document = mcp_resources.view(drawn(told(word("dog", 1.0))))
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)|url\(([^)]+)|@import|https?:", document)
    assert addresses == [(PICTURE, "")]


@pytest.mark.parametrize("stops", ["1x1", "1x1 2x2 4x8", "1x1 2x4 4x8 8x16 8x32 16x64"])
def test_budgets_of_other_encoders_have_their_groups(stops: str) -> None:
    budgets = Budgets.parse(stops)
    found = drawn(told(*[word("dog", 0.1)] * len(budgets)), budgets)
    assert [group.label("candidate") for group in budgets.groups] == re.findall(r"</i>([\d–]+) <b>", found)
    assert "-of-" not in found  # shades that only the page knows


def test_an_encoder_without_evidence_shows_the_page_and_its_score() -> None:
    found = drawn({**told(image=True, text=""), "explanation": None})
    assert "does not tell what its Meta Tokens read" in found
    assert "asked with a picture" in found
    assert PICTURE in found
    assert "<svg" not in found


def test_a_score_and_its_groups_are_as_the_encoder_was_trained() -> None:
    encoder = DummyEncoder()
    encoder.similarity = "MeanMaxSim"
    base = samples(encoder)
    api = Api(Visits(Tools(encoder), base), base)
    page = api.search("dog and cat", "8x16", 1)["hits"][0]
    found = mcp_resources.drawn(api.explained(page["page_id"], "dog and cat", "8x16"), "", "http://a")
    assert f"<b>{page['score'] / 8:.2f}</b> MeanMaxSim" in found
    groups = [float(gain) for gain in re.findall(r"</i>[\d–]+ <b>([\d.]+)</b>", found)]
    assert sum(groups) == pytest.approx(page["score"] / 8, abs=0.03)
    assert 'href="http://a/?q=dog+and+cat&amp;budget=8x16&amp;hit=' in found


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "ui://metaembed-demo/explain/",
        "ui://metaembed-demo/explain/samples",
        "ui://metaembed-demo/explain/samples/",
        "ui://metaembed-demo/explain/samples/7f/more",
        "ui://metaembed-demo/explain/samples/7f?client=a",
        "ui://metaembed-demo/explain/samples/7f?query=%ff",
        "ui://metaembed-demo/explain/samples/7f?" + "query=a&" * 5,
        "ui://another/explain/samples/7f",
        "ui://metaembed-demo/other/samples/7f",
        "metaembed-demo://picture/7f",
        "metaembed-demo://picture/samples/%ff",
        "http://[metaembed-demo",
    ],
)
def test_what_names_no_resource_is_told(uri: str) -> None:
    with pytest.raises(ValueError, match="no such resource"):
        mcp_resources.Asked.parse(uri)
