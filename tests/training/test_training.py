"""MMR loss, training examples, and a short training run with resuming."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.mini import adapters, minilm
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.encoders.mini.meta_file import save_meta
from metaembed_demo.training.matryoshka_loss import mmr_loss, nested_scores
from metaembed_demo.training.mini import corpora
from metaembed_demo.training.mini.corpora import Document, parse_dictd, parse_sections, parse_wordnet
from metaembed_demo.training.mini.dataset import (
    HELD_OUT,
    ImageConcept,
    Question,
    TrainingExample,
    TrainingSet,
    is_dev,
    load_questions,
    queries,
)
from metaembed_demo.training.mini.teacher import Teacher, standardised, token_scores
from metaembed_demo.training.mini.trainer import Recipe, Trainer, encode, main, single_answer_ndcg

pytestmark = pytest.mark.slow

TOPICS = ["bread", "trains", "taxes", "stars", "violins", "dogs", "rivers", "chess", "bees", "glass"]


def documents() -> list[Document]:
    rng = random.Random(0)
    made = []
    for n in range(60):
        sections = []
        for topic in rng.sample(TOPICS, 4):
            text = " ".join(
                f"One remark about {topic} says number {rng.randint(1, 99)} matters." for _ in range(10)
            )
            sections.append((f"Notes on {topic} {n}", text))
        made.append(Document("toy", f"toy-{n}", sections))
    return made


def test_nested_scores_by_eye() -> None:
    queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    pages = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    one, two = nested_scores(queries, pages, [(1, 1), (2, 2)])
    assert one.tolist() == [[1.0, 0.0]]
    assert two.tolist() == [[1.0, 0.5]]


def test_loss_decreases_with_the_positive_and_with_the_teacher() -> None:
    good, bad = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    right = torch.tensor([0, 1])
    assert mmr_loss([good], right) < mmr_loss([bad], right)
    assert mmr_loss([good, good], right).item() == pytest.approx(2 * mmr_loss([good], right).item())
    agreeing = mmr_loss([good], right, teacher=good, temperature=0.05)
    assert agreeing.item() == pytest.approx(mmr_loss([good], right, temperature=0.05).item(), abs=1e-5)
    assert mmr_loss([good], right, teacher=bad) > mmr_loss([good], right, teacher=good)


def test_every_nested_prefix_gets_gradients() -> None:
    queries = torch.nn.functional.normalize(torch.randn(2, 16, 8), dim=-1).requires_grad_()
    pages = torch.nn.functional.normalize(torch.randn(3, 64, 8), dim=-1).requires_grad_()
    mmr_loss(nested_scores(queries, pages)[:1], torch.tensor([0, 1])).backward()
    assert queries.grad is not None
    assert queries.grad[:, 0].abs().sum() > 0
    assert queries.grad[:, 1:].abs().sum() == 0


def test_batches_repeat_and_keep_the_dev_set_apart() -> None:
    made = documents()
    training_set = TrainingSet(
        made, [ImageConcept(["cat"], ["animal"], "It is small."), ImageConcept(["bus"], [], "It is long.")]
    )
    assert training_set.batch(12, 3) == training_set.batch(12, 3)
    assert training_set.batch(12, 3) != training_set.batch(12, 4)
    kept = {document.name for document in made if is_dev(document)}
    assert kept
    assert kept == {document.name for document, _ in training_set.dev}
    assert len(training_set.train) == len(made) - len(kept)
    whole = [Document(HELD_OUT[0], document.name, document.sections) for document in made]
    assert TrainingSet([*made, *whole]).train == training_set.train


def test_a_batch_mixes_pictures_and_foreign_queries() -> None:
    entries = [
        Document("dict-toy", f"dict-{n}", [("loaf", "bread baked in one piece, " * 4)]) for n in range(9)
    ]
    banjo = ImageConcept(["banjo"], ["musical instrument"], "A round body with strings.")
    examples = [
        example
        for seed in range(60)
        for example in TrainingSet([*documents(), *entries], [banjo]).batch(8, seed)
    ]
    shown = [example for example in examples if example.words[0] == "banjo"]
    assert shown
    assert all("instrument" in example.words and example.queries[1] == banjo.description for example in shown)
    foreign = sum(len(example.foreign) for example in examples)
    assert 0.1 < foreign / len(examples) < 0.4


def test_pages_with_our_questions_hold_the_part_that_answers() -> None:
    made = documents()
    document = next(document for document in made if not is_dev(document))
    text = document.sections[1][1]
    question = Question("toy", " ".join(text.split()[:8]), "what does the remark say?")
    lost = Question("toy", "nobody ever wrote this", "lost?")
    training_set = TrainingSet(made, questions=[question, lost])
    assert len(training_set.asked) == 1
    asked = [
        example
        for seed in range(10)
        for example in training_set.batch(12, seed)
        if question.text in example.queries
    ]
    assert asked
    answers = set(text.split())
    assert all(len(answers & set(example.words)) > 0.8 * len(answers) for example in asked)


def test_the_questions_shipped_are_well_formed() -> None:
    questions = load_questions(PATHS.assets / "questions.jsonl")
    assert len(questions) > 2000
    assert len({question.text for question in questions}) == len(questions)
    assert not any("faq" in question.source for question in questions)


def test_token_scores_are_means_of_best_matches() -> None:
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert token_scores([one, two], [one, two]).tolist() == [[1.0, 1.0], [0.5, 1.0]]


BREAD, STARS = "bread is baked from flour and water " * 3, "stars are far away and shine at night " * 3


def test_readers_of_the_teacher_are_mixed_by_query() -> None:
    examples = [
        TrainingExample(BREAD.split(), ["baking bread"], foreign=["shining stars"]),
        TrainingExample(STARS.split(), ["why do stars shine"]),
    ]
    weights = {"minilm": 1.0, "slices": 1.0, "bm25": 0.5}
    scores = Teacher(weights).scores(examples)
    assert queries(examples) == ["baking bread", "why do stars shine", "shining stars"]
    assert scores.argmax(1).tolist() == [0, 1, 1]
    # Two pages: standardised, every reader says the same of each row.
    torch.testing.assert_close(scores.abs(), torch.full((3, 2), 0.5**0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(Teacher({"bm25": 9.0}).scores(examples), scores, atol=1e-4, rtol=0)


def test_a_translated_query_is_taught_as_its_original_by_readers_of_its_language() -> None:
    german = TrainingExample(
        ["Brot", "wird", "aus", "Mehl", "und", "Wasser", "gebacken"],
        ["Brot backen", "starlight"],
        language="de",
        original={"starlight": "Brot backen"},
    )
    pages = [german, TrainingExample(STARS.split(), ["why do stars shine"])]
    scores = Teacher({"minilm": 1.0, "bm25": 1.0}).scores(pages)
    torch.testing.assert_close(scores[0], scores[1])
    assert scores[0].argmax() == 0
    alone = Teacher({"bm25": 1.0}).scores(pages)
    torch.testing.assert_close(scores[:2], alone[:2])  # MiniLM does not read German
    assert not Teacher({"minilm": 1.0}).scores(pages)[2].isnan().any()


def test_a_reader_without_an_opinion_says_nothing() -> None:
    assert standardised(torch.tensor([[2.0, 2.0], [1.0, 3.0]]))[0].tolist() == [0.0, 0.0]


def test_sources_that_are_left_out_are_judged() -> None:
    made = [Document("other", f"other-{n}", document.sections) for n, document in enumerate(documents())]
    text = next(document for document in made if not is_dev(document)).sections[1][1]
    question = Question("other", " ".join(text.split()[:8]), "what does the remark say?")
    both = TrainingSet([*documents(), *made], questions=[question], without=["other"])
    assert both.train == TrainingSet(documents()).train
    (example,) = both.left_out["other"]
    assert example.queries == ["what does the remark say?"]
    assert not TrainingSet(documents(), without=[""]).left_out


def test_a_foreign_query_follows_the_teacher_alone() -> None:
    scores, teacher = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.2, 0.8]])
    alone = mmr_loss([scores], torch.tensor([0]), teacher) - mmr_loss([scores], torch.tensor([0]))
    both = torch.cat([scores, scores])
    mixed = mmr_loss([both], torch.tensor([0, -1]), torch.cat([teacher, teacher]))
    assert mixed.item() == pytest.approx((mmr_loss([scores], torch.tensor([0])) + alone).item(), abs=1e-5)


def test_sections_of_html(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    body = (
        "<nav>Home Index</nav><h2>2.1. Saving a file</h2><p>" + "Press the key <b>S</b> twice. " * 6 + "</p>"
    )
    file.write_text(f"<html><body>{body}</body></html>")
    ((heading, text),) = parse_sections(file, plain=False)
    assert heading == "Saving a file"
    assert text.startswith("Press the key S twice.")
    assert "Home" not in text


def test_dictionaries(tmp_path: Path) -> None:
    import gzip

    text = b"loaf\n  bread baked in one piece, larger than a roll or a bun\n"
    (tmp_path / "d.dict.dz").write_bytes(gzip.compress(text))
    (tmp_path / "d.index").write_text(
        f"loaf\tA\t{'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'[len(text)]}\n"
    )
    ((word, meaning),) = parse_dictd(tmp_path / "d.index", tmp_path / "d.dict.dz")
    assert (word, meaning[:11]) == ("loaf", "bread baked")
    line = "00001740 03 n 02 loaf 0 loaf_of_bread 0 000 | a shaped mass of baked bread  \n"
    (tmp_path / "data.noun").write_text("  licence\n" + line)
    (tmp_path / "data.verb").write_text("")
    assert list(parse_wordnet(tmp_path)) == [("loaf, loaf of bread", "a shaped mass of baked bread")]


def test_ndcg_of_known_ranks() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert single_answer_ndcg(scores, torch.tensor([0, 0, 0])) == pytest.approx(1)
    assert single_answer_ndcg(scores, torch.tensor([1, 1, 1])) == pytest.approx(0.63093, abs=1e-4)


def test_a_short_training_learns_and_resumes(tmp_path: Path) -> None:
    recipe = Recipe(
        steps=4,
        batch=6,
        lora=0,
        rate=1e-4,
        token_rate=20.0,
        teacher_e5=False,
        warmup=1,
        sample=60,
        rarity_batches=2,
        dev_every=4,
        save_every=2,
        dev_pages=4,
    )
    training_set = TrainingSet(documents())
    trainer = Trainer(recipe, training_set, tmp_path)
    trainer.run()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    judged = [row["long"] for row in rows if "long" in row]
    assert [set(figures) for figures in judged] == [
        {"one_vector", "best_chunk"},
        *[{"1x1", "2x4", "4x8", "8x16", "16x64"}] * 2,
    ]

    again = Trainer(recipe, training_set, tmp_path)
    assert again.resume()
    assert again.step == 4
    for name, tensor in trainer.meta.state_dict().items():
        torch.testing.assert_close(again.meta.state_dict()[name], tensor)
    assert not any(p.requires_grad for p in again.text.model.parameters())


def test_states_of_distinct_batches_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(
        steps=4,
        batch=4,
        distinct=2,
        lora=0,
        teacher_e5=False,
        parts="clusters",
        temperature_rate=30.0,
        warmup=1,
        sample=60,
        rarity_batches=2,
    )
    trainer = Trainer(recipe, TrainingSet(documents()), tmp_path)
    trainer.initialise()
    first = [trainer.batch()]
    trainer.step = 1
    first.append(trainer.batch())
    monkeypatch.setattr(trainer.text, "states", None)  # none is computed again
    for trainer.step in (2, 3):
        again, before = trainer.batch(), first[trainer.step - 2]
        assert torch.equal(again.positives, before.positives)
        torch.testing.assert_close(again.teacher, before.teacher)
        for mine, other in zip(encode(trainer.meta, again), encode(trainer.meta, before), strict=True):
            torch.testing.assert_close(mine, other, atol=2e-3, rtol=0)
    before = trainer.log_temperature.clone()
    trainer.step = 0
    trainer.train_step(first[0])
    assert (trainer.log_temperature != before).all()


ADAPTED = Recipe(
    batch=4, lora=4, teacher_e5=False, warmup=1, sample=60, rarity_batches=2, dev_every=9, dev_pages=2
)


def test_adapters_learn_and_are_merged_when_loaded(tmp_path: Path) -> None:
    recipe = replace(ADAPTED, steps=3, rate=1e-3)
    trainer = Trainer(recipe, TrainingSet(documents()), tmp_path)
    trainer.run()
    save_meta(trainer.meta, tmp_path / "mini.safetensors", adapters.tensors(trainer.text))
    words = ["bread", "is", "baked"]
    merged = Mini.load(tmp_path / "mini.safetensors").text
    tokens = trainer.text.tokens(words)
    with torch.no_grad():
        mine, other, before = (text.states([tokens]).final for text in (trainer.text, merged, minilm.load()))
    torch.testing.assert_close(mine, other, atol=5e-3, rtol=0)
    assert (mine - before).abs().max() > 0.02
    again = Trainer(recipe, TrainingSet(documents()), tmp_path)
    assert again.resume()
    with torch.no_grad():
        torch.testing.assert_close(again.text.states([tokens]).final, mine)
    further = replace(recipe, begin=str(tmp_path / "mini.safetensors"))
    with pytest.raises(ValueError, match="adapters of rank 4: train it as that"):
        Trainer(replace(further, lora=2), TrainingSet(documents()), tmp_path / "less").initialise()
    trainer = Trainer(further, TrainingSet(documents()), tmp_path / "further")
    trainer.initialise()
    with torch.no_grad():
        torch.testing.assert_close(trainer.text.states([tokens]).final, mine, atol=5e-3, rtol=0)
    torch.testing.assert_close(trainer.meta.page_tokens, again.meta.page_tokens, atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match=r"no layer layer\.9"):
        adapters.load(
            minilm.load(), {"adapter.layer.9.down": torch.zeros(1), "adapter.layer.9.up": torch.zeros(1)}
        )


def test_a_share_of_what_was_learned_is_kept(tmp_path: Path) -> None:
    recipe = replace(ADAPTED, steps=2, keep=0.5, rate=1e-2)
    trainer = Trainer(recipe, TrainingSet(documents()), tmp_path)
    trainer.run()
    learned = trainer.meta.tensors()["page_tokens"].clone()
    changed = {name: tensor.clone() for name, tensor in adapters.tensors(trainer.text).items()}
    kept = trainer.finish()
    start = trainer.start["page_tokens"]
    assert (learned - start).abs().max() > 1e-3
    torch.testing.assert_close(trainer.meta.tensors()["page_tokens"], (learned + start) / 2)
    name = next(name for name in changed if name.endswith(".up") and changed[name].abs().max() > 0)
    torch.testing.assert_close(kept[name], changed[name] / 2)
    torch.testing.assert_close(adapters.tensors(trainer.text)[name], kept[name])


def test_export_without_a_checkpoint_and_missing_data_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpora, "prepare", lambda folder: folder)
    monkeypatch.setattr(corpora, "load", lambda path: documents())
    out = tmp_path / "weights.safetensors"
    options = ["--run", str(tmp_path / "run"), "--data", str(tmp_path), "--out", str(out)]
    assert main([*options, "--export"]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert not out.exists()

    def fails(folder: Path) -> Path:
        raise RuntimeError("The Debian package wordnet-base could not be fetched.")

    monkeypatch.setattr(corpora, "prepare", fails)
    assert main(options) == 2
    assert "wordnet-base" in capsys.readouterr().err
