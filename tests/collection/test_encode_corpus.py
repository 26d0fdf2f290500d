"""Encoding in parallel: what comes out is what index_files makes, and nothing is encoded twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.cli import encode_corpus
from metaembed_demo.cli.encode_corpus import encode, merge
from metaembed_demo.collection import encoded_parts
from metaembed_demo.collection.collection import NO_SESSION, Collection
from metaembed_demo.collection.encoded_parts import BadInput
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.config import PATHS, ROOT
from metaembed_demo.core.types import Embedding, Page
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.base import Encoder
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_files import make_pdf
from tests.support.sample_media import film, slide, subtitle_file

pytestmark = pytest.mark.slow


class Noting(DummyEncoder):
    """Writes down what it encodes: "source#number", a line a page. Its name is the file."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = Path(log)

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        with self.log.open("a") as file:
            file.write("".join(f"{page.source}#{page.number}\n" for page in pages))
        return super().encode_pages(pages)


class Stuck(Noting):
    """Never comes back from the second batch."""

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        if self.log.exists():
            time.sleep(600)
        return super().encode_pages(pages)


class Deadly(Noting):
    """Ends its process at a page of minutes.pdf, as a fault in a native library does."""

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        if any(page.source == "minutes.pdf" for page in pages):
            os._exit(1)
        return super().encode_pages(pages)


class Picky(Noting):
    """Cannot encode page 2 of house-rules.pdf, nor any batch with it, and makes page 3 of it NaN."""

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        if any((page.source, page.number) == ("house-rules.pdf", 2) for page in pages):
            raise RuntimeError("too large")
        spoilt = [(page.source, page.number) == ("house-rules.pdf", 3) for page in pages]
        found = super().encode_pages(pages)
        return [
            Embedding(e.vectors * np.nan if bad else e.vectors) for e, bad in zip(found, spoilt, strict=True)
        ]


def dummy(name: str) -> Encoder:
    return DummyEncoder()


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """Ray as the program starts it, for all tests of this file; its workers find the encoders above."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before])])
    encode_corpus.start_ray(2)
    yield
    encode_corpus.import_ray().shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five files, one of them bad; the archive holds pages again, and two documents of one name."""
    made = tmp_path_factory.mktemp("corpus")
    for name in ("house-rules.pdf", "minutes.pdf"):
        shutil.copy(PATHS.sample_corpus / name, made)
    (made / "broken.pdf").write_bytes((made / "minutes.pdf").read_bytes()[:700])
    make_pdf(made / "manual.pdf", pages=1)
    with zipfile.ZipFile(made / "box.zip", "w") as box:
        box.write(made / "minutes.pdf", "one.pdf")
        with pytest.warns(UserWarning, match="Duplicate name"):
            box.write(made / "manual.pdf", "one.pdf")
        box.write(made / "manual.pdf", "same.pdf")
    return made


@pytest.fixture
def folder(corpus: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(corpus, tmp_path / "corpus")


def added(folder: Path) -> tuple[Collection, Report]:
    """What one process makes of the same files."""
    encoder, report = DummyEncoder(), Report()
    collection = Collection.for_encoder(encoder)
    list(index_files(collection, uploads([folder]), encoder, report, NO_SESSION))
    return collection, report


@pytest.fixture(scope="module")
def expected(corpus: Path) -> tuple[Collection, Report]:
    return added(corpus)


def merged(parts: Path, out: Path, **options: object) -> tuple[Collection, Report]:
    """What `merge` makes, opened, and what it tells."""
    pages, report = merge(parts, out, **options)
    collection = Collection.load(out, DummyEncoder.fingerprint)
    assert len(collection) == pages
    return collection, report


def assert_same(made: tuple[Collection, Report], expected: tuple[Collection, Report]) -> None:
    (found, told), (wanted, wanted_told) = made, expected
    assert found.index.ids == wanted.index.ids
    assert [page.as_json() for page in found.pages.values()] == [p.as_json() for p in wanted.pages.values()]
    assert [page.picture for page in found.pages.values()] == [p.picture for p in wanted.pages.values()]
    np.testing.assert_array_equal(found.index.vectors(found.index.ids), wanted.index.vectors(found.index.ids))
    assert told.duplicates == wanted_told.duplicates
    assert told.problems == wanted_told.problems
    assert (told.added, told.finished) == (wanted_told.added, True)


@pytest.mark.parametrize("workers", [2, 0])
def test_the_merged_collection_is_what_one_process_makes(
    folder: Path, tmp_path: Path, expected, workers: int
) -> None:
    result = encode([folder], tmp_path / "parts", "dummy", workers, load=dummy)
    assert (result.inputs, result.skipped, result.pages) == (5, 0, 3 + 2 + 1 + (2 + 1))
    (problem,) = result.problems
    assert problem.source == "broken.pdf"
    if workers:
        assert result.threads == {max(1, (os.cpu_count() or 1) // 2)}
    made = merged(tmp_path / "parts", tmp_path / "index")
    assert [len(made[1].duplicates), len(made[1].problems), len(made[0])] == [4, 1, 6]
    assert "box.zip/one (2).pdf" in {document.source for document in made[0].documents()}
    assert_same(made, expected)
    again = encode([folder], tmp_path / "parts", "dummy", workers, load=dummy)
    assert (again.skipped, again.pages, again.problems) == (5, 0, result.problems)


def test_a_run_that_was_killed_goes_on_where_it_was(folder: Path, tmp_path: Path, expected) -> None:
    parts, log = tmp_path / "parts", tmp_path / "log"
    program = (
        "import sys; from pathlib import Path; from metaembed_demo.cli.encode_corpus import encode; "
        "from tests.collection.test_encode_corpus import Stuck; "
        "encode([Path(sys.argv[1])], Path(sys.argv[2]), sys.argv[3], load=Stuck)"
    )
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(parts), str(log)], env=surroundings
    )
    try:
        while not list(parts.glob("done/*/*.json")):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    first = log.read_text().split()
    assert first == ["box.zip/one.pdf#1", "box.zip/one.pdf#2", "box.zip/one.pdf#1"]
    with pytest.raises(BadInput, match=r"[34] of 5 files are not encoded yet"):
        merge(parts, tmp_path / "index")
    assert len(merged(parts, tmp_path / "some", partial=True)[0]) == 3
    result = encode([folder], parts, str(log), load=Noting)
    assert result.pages == 6
    rest = ["house-rules.pdf#1", "house-rules.pdf#2", "house-rules.pdf#3"]
    rest += ["manual.pdf#1", "minutes.pdf#1", "minutes.pdf#2"]
    assert log.read_text().split() == [*first, *rest]
    assert_same(merged(parts, tmp_path / "index"), expected)


def test_a_file_that_kills_its_worker_costs_only_itself(folder: Path, tmp_path: Path) -> None:
    """Ray starts another worker and hands the task out again."""
    parts, log = tmp_path / "parts", tmp_path / "log"
    (folder / "box.zip").unlink()
    result = encode([folder], parts, str(log), 1, load=Deadly)
    assert [problem.source for problem in result.problems] == ["broken.pdf", "minutes.pdf"]
    assert "ended the process" in result.problems[1].message
    found, _ = merged(parts, tmp_path / "index")
    assert [document.source for document in found.documents()] == ["house-rules.pdf", "manual.pdf"]
    assert "minutes.pdf" not in log.read_text()


def test_a_page_that_cannot_be_encoded_costs_only_itself_and_is_tried_again(
    folder: Path, tmp_path: Path, expected
) -> None:
    parts, log = tmp_path / "parts", tmp_path / "log"
    result = encode([folder], parts, str(log), load=Picky)
    assert [problem.message for problem in result.problems][1:] == [
        "house-rules.pdf page 2 could not be encoded: too large",
        "house-rules.pdf page 3 could not be encoded: the encoder gave values that are not finite",
    ]
    assert len(merged(parts, tmp_path / "most")[0]) == 4
    log.unlink()
    result = encode([folder], parts, str(log), load=Noting)
    assert log.read_text().split() == ["house-rules.pdf#1", "house-rules.pdf#2", "house-rules.pdf#3"]
    assert (result.skipped, [problem.source for problem in result.problems]) == (4, ["broken.pdf"])
    assert_same(merged(parts, tmp_path / "index"), expected)
    done = [json.loads(file.read_text()) for file in parts.glob("done/*/*.json")]
    named = {part for one in done for part, _, _ in one["slices"]}
    left = {file.stem for file in (parts / "parts").iterdir()}
    assert left == named, "what the first run made of that file is gone"


def test_a_long_file_goes_into_several_parts(folder: Path, tmp_path: Path, expected, monkeypatch) -> None:
    monkeypatch.setattr(encoded_parts, "PART_PAGES", 2)
    encode([folder], tmp_path / "parts", "dummy", batch=1, load=dummy)
    done = [json.loads(file.read_text()) for file in tmp_path.glob("parts/done/*/*.json")]
    assert {one["name"]: len(one["slices"]) for one in done} == {
        "box.zip": 2,
        "broken.pdf": 0,
        "house-rules.pdf": 2,
        "manual.pdf": 1,
        "minutes.pdf": 1,
    }
    assert_same(merged(tmp_path / "parts", tmp_path / "index"), expected)


def test_a_merge_in_steps_is_the_same_and_one_that_was_killed_leaves_nothing(
    folder: Path, tmp_path: Path, expected, monkeypatch
) -> None:
    parts, index = tmp_path / "parts", tmp_path / "index"
    encode([folder], parts, "dummy", load=dummy)
    saves, save = [], Collection.save

    def dying(collection: Collection, path: Path) -> int:
        saves.append(len(collection))
        if len(saves) == 3:
            raise KeyboardInterrupt
        return save(collection, path)

    monkeypatch.setattr(Collection, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        merge(parts, index, every=2)
    assert saves == [2, 4, 6]
    assert not index.exists()
    assert_same(merged(parts, index, every=2), expected)
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "parts", "index"}


def test_a_changed_file_is_encoded_again_and_a_removed_one_is_left_out(folder: Path, tmp_path: Path) -> None:
    parts, log = tmp_path / "parts", tmp_path / "log"
    encode([folder], parts, str(log), load=Noting)
    log.unlink()
    shutil.copy(folder / "minutes.pdf", folder / "broken.pdf")
    (folder / "box.zip").unlink()
    result = encode([folder], parts, str(log), load=Noting)
    assert log.read_text().split() == ["broken.pdf#1", "broken.pdf#2"]
    assert (result.inputs, result.skipped, result.problems) == (4, 3, [])
    assert_same(merged(parts, tmp_path / "index"), added(folder))


def test_a_list_of_files_is_relative_to_its_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"corpus/minutes.pdf\n\n{folder / 'manual.pdf'}\ngone.pdf\n")
    paths = encoded_parts.listed(tmp_path / "list.txt")
    assert [path.name for path in paths] == ["minutes.pdf", "manual.pdf", "gone.pdf"]
    result = encode(paths, tmp_path / "parts", "dummy", load=dummy)
    (problem,) = result.problems
    assert (result.pages, problem.message) == (3, "gone.pdf does not exist. Check the path.")
    with pytest.raises(BadInput, match=r"none\.txt cannot be read"):
        encoded_parts.listed(tmp_path / "none.txt")


def test_without_ray_the_message_names_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert encode_corpus.main(["encode", str(folder), "--out", str(tmp_path / "p"), "--workers", "2"]) == 2
    said = capsys.readouterr().err
    assert 'pip install "ray[data]>=2.40"' in said
    assert "--workers 0" in said


def test_more_than_the_machine_has_is_refused_instead_of_waited_for(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Ray has 2 CPUs and 4 workers need 4"):
        encode([folder], tmp_path / "p", "dummy", 4, threads=1, load=dummy)
    with pytest.raises(BadInput, match="Ray has 0 GPUs and 1 workers need 1"):
        encode([folder], tmp_path / "q", "dummy", 1, gpus=1, load=dummy)


def test_bad_input_is_told_in_words(folder: Path, tmp_path: Path, capsys) -> None:
    parts, empty = tmp_path / "parts", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match="no files to encode"):
        encode([empty], tmp_path / "x", "dummy", load=dummy)
    with pytest.raises(BadInput, match="holds other files"):
        encode([folder], folder, "dummy", load=dummy)
    with pytest.raises(BadInput, match="There is no encoder called 'nonsense'"):
        encode([folder], tmp_path / "y", "nonsense")
    with pytest.raises(BadInput, match="cannot be merged"):
        merge(empty, tmp_path / "index")
    encode([folder], parts, "dummy", load=dummy)
    with pytest.raises(BadInput, match="made by the encoder dummy, not mini"):
        encode([folder], parts, "mini")
    shutil.copy(folder / "minutes.pdf", folder / "new.pdf")
    head = parts / "encoder.json"
    head.write_text(head.read_text().replace("dummy-1", "dummy-0"))
    with pytest.raises(BadInput, match=r"another encoder \(dummy-0, not dummy-1\)"):
        encode([folder], parts, "dummy", load=dummy)
    assert encode_corpus.main(["merge", str(parts), "--out", str(tmp_path / "index"), "--partial"]) == 0
    assert "broken.pdf" in capsys.readouterr().err
    with pytest.raises(BadInput, match="holds an index already"):
        merge(parts, tmp_path / "index")
    for file in (parts / "parts").glob("*.jsonl"):
        file.write_bytes(b"?" + file.read_bytes()[1:])
    with pytest.raises(BadInput, match=r"Part \w+ of .* is damaged"):
        merge(parts, tmp_path / "other", partial=True)


def test_a_film_is_encoded_with_its_subtitles(tmp_path: Path) -> None:
    """And again when these change."""
    films = tmp_path / "films"
    films.mkdir()
    film(films / "talk.mkv", [(12, slide("Heat pump"))])
    subtitle_file(films / "talk.srt", [(1, "good morning")])
    [one] = encoded_parts.inputs_of([films])
    for name in ("parts", "done", "trying"):
        (tmp_path / "parts" / name).mkdir(parents=True)
    worker = encoded_parts.Worker(str(tmp_path / "parts"), "dummy", dummy, 8, 0, "one")
    assert worker.work(json.dumps([asdict(one)]))["pages"] == 2
    assert encoded_parts.is_done(tmp_path / "parts", one)
    subtitle_file(films / "talk.srt", [(1, "good evening")])
    assert not encoded_parts.is_done(tmp_path / "parts", one)
