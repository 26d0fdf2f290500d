"""Training data: all layouts, errors with file and line, batches without false negatives."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from metaembed_demo.core.config import Limits
from metaembed_demo.training.vlm.dataset import Batches, Example, StoredItem, hard_negatives, load, share


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def drawn(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), colour).save(path)
    return path


def png(colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (12, 8), colour).save(made, "PNG")
    return made.getvalue()


def written(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def mmeb(**changed: Any) -> dict[str, Any]:
    row = {"qry": "<|image_1|>\nWhat is it?", "qry_image_path": "a/q.png", "pos_text": "a cat"}
    return row | {"pos_image_path": "", "neg_text": "a dog", "neg_image_path": ""} | changed


def test_plain_lines_of_texts_and_pictures(tmp_path: Path) -> None:
    drawn(tmp_path / "pages" / "1.png", "blue")
    shown = {"text": "on the left", "image": "pages/1.png"}
    file = written(
        tmp_path / "a.jsonl",
        {"query": "blue", "positive": {"image": "pages/1.png"}, "negatives": ["red", shown]},
        "",
        {"query": shown, "positive": "words"},
    )
    first, second = load(file)
    assert (first.query.text, first.positive.text, first.query.picture) == ("blue", "", None)
    item = first.positive.item()
    assert item.image is not None
    assert item.image.getpixel((0, 0)) == (0, 0, 255)
    assert [side.text for side in first.negatives] == ["red", "on the left"]
    assert second.query.item().image is not None
    assert second.negatives == ()
    assert load(tmp_path) == [first, second]  # a folder: all its files


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 2: not JSON"),
        ([1], "line 2: an example is an object"),
        ({"query": "a"}, "line 2: there is no positive"),
        ({"query": "a", "positive": "b", "negative": ["c"]}, "line 2: 'negative' is not one of"),
        ({"query": "a", "positive": "b", "negatives": "c"}, "line 2: negatives is a list"),
        ({"query": " ", "positive": "b"}, "line 2: an item has neither text nor image"),
        ({"query": 3, "positive": "b"}, "line 2: 3 is neither a text nor"),
        ({"query": {"txt": "a"}, "positive": "b"}, "line 2: {'txt': 'a'} is neither"),
        ({"query": {"text": ["a"]}, "positive": "b"}, r"line 2: text is \['a'\], not a string"),
        ({"query": "a", "positive": {"image": "none.png"}}, "line 2: there is no picture .*none.png"),
    ],
)
def test_malformed_plain_lines_are_reported(tmp_path: Path, row: Any, said: str) -> None:
    file = written(tmp_path / "a.jsonl", {"query": "a", "positive": "b"}, row)
    with pytest.raises(ValueError, match=f"a.jsonl, {said}"):
        load(file)


@pytest.mark.parametrize("kind", ["parquet", "json", "jsonl"])
def test_mmeb_train(tmp_path: Path, kind: str) -> None:
    images = tmp_path / "images"
    drawn(images / "a" / "q.png")
    rows = [mmeb(), mmeb(pos_text="<|image_1|>", pos_image_path="a/q.png", neg_text="")]
    file = tmp_path / f"m.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif kind == "json":
        file.write_text(json.dumps(rows))
    else:
        written(file, *rows)
    first, second = load(file, images)
    assert first.query.text == "What is it?"
    assert first.query.picture == images / "a" / "q.png"
    assert [side.text for side in first.negatives] == ["a dog"]
    assert (second.positive.text, second.negatives) == ("", ())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (mmeb(qry_image_path=""), "has a place for a picture, but there is none"),
        (mmeb(qry_image_path="other.png"), "there is no picture"),
        (mmeb(pos_text=""), "neither text nor image"),
        (mmeb(neg_text=["a", "b"], neg_image_path=["a/q.png"]), "2 neg_text, but 1 neg_image_path"),
        ({k: v for k, v in mmeb().items() if k != "pos_text"}, "column pos_text is missing"),
    ],
)
def test_malformed_mmeb_rows_are_reported(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    drawn(tmp_path / "a" / "q.png")
    with pytest.raises(ValueError, match=f"m.jsonl, line 1: .*{said}"):
        load(written(tmp_path / "m.jsonl", row))


def test_several_negatives_of_mmeb(tmp_path: Path) -> None:
    drawn(tmp_path / "a" / "q.png")
    row = mmeb(neg_text=["a dog", "a bus"], neg_image_path=[])
    (example,) = load(written(tmp_path / "m.jsonl", row))
    assert [side.text for side in example.negatives] == ["a dog", "a bus"]


def colpali(*rows: tuple[str | None, bytes | None]) -> pa.Table:
    made = [{"query": q, "image": {"bytes": b, "path": None}, "source": "toy"} for q, b in rows]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.Table.from_pylist(
        made, schema=pa.schema({"query": pa.string(), "image": kind, "source": pa.string()})
    )


def test_colpali_train(tmp_path: Path) -> None:
    file = tmp_path / "c.parquet"
    pq.write_table(colpali(("red?", png("red")), (None, png("blue")), ("also red?", png("red"))), file)
    first, second = load(file)
    assert (first.query.text, second.query.text) == ("red?", "also red?")
    item = second.positive.item()
    assert item.image is not None
    assert item.image.getpixel((3, 3)) == (255, 0, 0)
    assert first.positive.key() == second.positive.key()  # two rows of one page
    assert first.query.key() != second.query.key()


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    import datasets

    made = datasets.Dataset(colpali(("red?", png("red")))).cast_column("image", datasets.Image())
    made.save_to_disk(str(tmp_path / "saved"))
    (example,) = load(tmp_path / "saved")
    assert example.positive.item().image is not None


def test_unreadable_images_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.parquet"
    pq.write_table(colpali(("a", b"no picture"), ("b", None)), file)
    damaged, missing = load(file)
    with pytest.raises(ValueError, match=r"c\.parquet, row 1: its picture cannot be read"):
        damaged.positive.item()
    with pytest.raises(ValueError, match=r"c\.parquet, row 2: has no picture"):
        missing.positive.key()
    drawn(tmp_path / "big.png")
    (big,) = load(written(tmp_path / "a.jsonl", {"query": "a", "positive": {"image": "big.png"}}))
    monkeypatch.setattr("metaembed_demo.training.vlm.dataset.LIMITS", Limits(max_pixels=5))
    with pytest.raises(ValueError, match=r"line 1: .*big.png cannot be read: has 12 x 8 pixels"):
        big.positive.item()


def test_missing_data_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data file"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="holds no training example"):
        load(written(tmp_path / "empty.jsonl", ""))
    with pytest.raises(ValueError, match=r"is none of \.jsonl"):
        load(written(tmp_path / "a.csv", "a,b"))
    with pytest.raises(ValueError, match="not a list"):
        load(written(tmp_path / "a.json", {"query": "a"}))
    pq.write_table(pa.table({"question": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="neither MMEB's columns"):
        load(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="not readable Parquet"):
        load(written(tmp_path / "b.parquet", "x"))


def toy(pages: str, queries: str = "") -> list[Example]:
    asked = queries or "".join(chr(ord("A") + i) for i in range(len(pages)))
    return [Example(StoredItem(q), StoredItem(p)) for q, p in zip(asked, pages, strict=True)]


def test_batches_hold_no_page_and_no_query_twice() -> None:
    examples = toy("aaabbbcccddd", "ABCDEFGHIJKA")
    batches = Batches(examples, 3, seed=1)
    for _ in range(12):
        rows = batches.take()
        assert len({examples[i].positive.text for i in rows}) == 3
        assert len({examples[i].query.text for i in rows}) == 3
    assert batches.epoch > 0


def test_batches_are_deterministic_and_resumable() -> None:
    examples = toy("abcdefgaab")
    one = Batches(examples, 3, seed=1)
    first = [one.take() for _ in range(4)]
    state = json.loads(json.dumps(one.state()))
    later = [one.take() for _ in range(7)]
    again = Batches(examples, 3, seed=1)
    assert [again.take() for _ in range(4)] == first
    resumed = Batches(examples, 3, seed=1)
    resumed.restore(state)
    assert [resumed.take() for _ in range(7)] == later
    assert [Batches(examples, 3, seed=2).take() for _ in range(4)] != first


def test_an_epoch_has_every_example() -> None:
    batches = Batches(toy("abcdefghijkl"), 4, seed=5)
    assert sorted(row for _ in range(3) for row in batches.take()) == list(range(12))


def test_too_few_distinct_pages_are_reported() -> None:
    with pytest.raises(ValueError, match="A batch of 3 needs as many different"):
        Batches(toy("aabb"), 3, seed=1).take()


def test_processes_share_a_batch() -> None:
    assert [share([4, 5, 6, 7], process, 2) for process in (0, 1)] == [[4, 5], [6, 7]]


def test_hard_negatives_are_no_page_of_the_batch_and_come_once_where_all_are_compared() -> None:
    asked = [("p", "qxy"), ("q", "xz"), ("r", "")]
    examples = [Example(StoredItem("?"), StoredItem(page), tuple(map(StoredItem, no))) for page, no in asked]
    for own, expected in ((False, [["x"], ["z"], []]), (True, [["x"], ["x", "z"], []])):
        found = [[side.text for side in sides] for sides in hard_negatives(examples, 2, own)]
        assert found == expected
    assert hard_negatives(examples, 0) == [[], [], []]
