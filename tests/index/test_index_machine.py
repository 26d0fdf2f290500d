"""Random sequences of what an index can be asked for, against a plain dict of vectors."""

import tempfile
import threading
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.base import best
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.maxsim import maxsim_numpy
from tests.support.device_index import DeviceIndex
from tests.support.sample_pages import random_vectors

R_C, DIM = 16, 8
BUDGETS = st.sampled_from([*STOPS, Budget(3, 5), Budget(7, 2)])


class IndexMachine(RuleBasedStateMachine):
    """`self.model` holds what was added and not removed, in order, rounded as the index rounds it."""

    kind: type[LocalIndex] = LocalIndex

    @initialize(coarse=st.booleans())
    def begin(self, coarse: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.index = self.kind(R_C, DIM, exact_up_to=0 if coarse else 5_000)
        self.model: dict[str, FloatArray] = {}
        self.saved: dict[str, FloatArray] | None = None
        self.seed = 0

    @rule(n=st.integers(1, 40))
    def add(self, n: int) -> None:
        self.seed += 1
        vectors = random_vectors(self.seed, n, R_C, DIM).astype(np.float16).astype(np.float32)
        ids = [f"{self.seed}-{i}" for i in range(n)]
        self.index.add(ids, vectors)
        self.model |= zip(ids, vectors, strict=True)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(self.model) - 1))
        gone = list(self.model)[start : start + data.draw(st.integers(1, 60))]
        self.index.remove(gone)
        for page_id in gone:
            del self.model[page_id]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        """A page that is removed and added once more goes to the end."""
        page_id = data.draw(st.sampled_from(list(self.model)))
        vectors = self.model.pop(page_id)
        self.index.remove([page_id])
        self.index.add([page_id], vectors[None])
        self.model[page_id] = vectors

    @rule(budget=BUDGETS, k=st.integers(1, 30), seed=st.integers(0, 99))
    def search(self, budget: Budget, k: int, seed: int) -> None:
        query = random_vectors(1_000 + seed, 8, DIM)
        hits = self.index.search(query, budget, k, exact=True)
        ids = list(self.model)
        if not ids:
            assert hits == []
            return
        scores = maxsim_numpy(query[: budget.r_q], np.stack(list(self.model.values()))[:, : budget.r_c])
        at = best(scores, k)
        known = dict(zip(ids, scores.tolist(), strict=True))
        np.testing.assert_allclose([known[hit.page_id] for hit in hits], scores[at], atol=2e-5)
        np.testing.assert_allclose([hit.score for hit in hits], scores[at], atol=2e-5)
        assert len({hit.page_id for hit in hits}) == len(at)
        quick = self.index.search(query, budget, k)
        assert [hit.rank for hit in quick] == list(range(1, min(k, len(ids)) + 1))
        if self.index.storage == "float16":
            for hit in quick:  # whichever pages the coarse stage let through, they are scored exactly
                assert abs(hit.score - known[hit.page_id]) < 2e-5
            if len(ids) <= 200:  # all are candidates
                assert quick == hits

    @rule()
    def save(self) -> None:
        self.index.save(Path(self.folder.name))
        self.saved = dict(self.model)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def load(self) -> None:
        coarse = self.index.exact_up_to
        self.index = self.kind.load(Path(self.folder.name))
        self.index.exact_up_to = coarse
        self.model = dict(self.saved or {})

    @rule(kind=st.sampled_from(["float16", "int8", "binary", "pq"]))
    def convert(self, kind: str) -> None:
        if kind != "pq" or len(self.model) * R_C >= 1_000:  # a codebook needs something to learn from
            self.index = self.index.stored_as(kind)
            assert self.index.storage == kind

    @rule()
    def copy(self) -> None:
        old, self.index = self.index, self.index.copy()
        old.remove(old.ids)
        assert len(old) == 0

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if hasattr(self, "model"):
            assert self.index.ids == list(self.model)
            assert len(self.index) == len(self.model)

    @invariant()
    def gives_the_full_vectors_back(self) -> None:
        if getattr(self, "model", None):
            ids = list(self.model)[:: max(1, len(self.model) // 5)]
            np.testing.assert_array_equal(self.index.full(ids), np.stack([self.model[i] for i in ids]))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


class DeviceMachine(IndexMachine):
    """On a GPU, where a search is exact whatever the coarse stage of LocalIndex would do."""

    kind = DeviceIndex

    @rule(budget=BUDGETS, k=st.integers(1, 30), seed=st.integers(0, 99))
    def search_without_exact(self, budget: Budget, k: int, seed: int) -> None:
        query = random_vectors(2_000 + seed, 8, DIM)
        if self.index.storage == "float16":
            assert self.index.search(query, budget, k) == self.index.search(query, budget, k, exact=True)


TestIndexMachine = IndexMachine.TestCase
TestDeviceMachine = DeviceMachine.TestCase
TestIndexMachine.settings = TestDeviceMachine.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_searches_beside_adds_and_removes_see_whole_documents() -> None:
    """Every document is ten like pages, added and removed at once: a search finds ten of it or none."""
    index = LocalIndex(R_C, DIM, exact_up_to=0)
    documents = random_vectors(0, 30, R_C, DIM)
    failures: list[str] = []
    stop = threading.Event()

    def ids(number: int) -> list[str]:
        return [f"{number}-{page}" for page in range(10)]

    def look() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                hits = index.search(documents[turn % 30, :8], Budget(8, 16), 1_000)
                counts: dict[str, int] = {}
                for hit in hits:
                    name = hit.page_id.split("-")[0]
                    counts[name] = counts.get(name, 0) + 1
                if set(counts.values()) - {10}:
                    failures.append(f"half a document: {counts}")
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    rng = np.random.default_rng(1)
    here: list[int] = []
    for _ in range(300):
        if here and rng.random() < 0.5:
            index.remove(ids(here.pop(int(rng.integers(len(here))))))
        else:
            number = int(rng.choice(sorted(set(range(30)) - set(here))))
            index.add(ids(number), np.repeat(documents[number][None], 10, axis=0))
            here.append(number)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(index.ids) == sorted(page for number in here for page in ids(number))
