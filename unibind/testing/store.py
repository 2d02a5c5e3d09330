"""The conformance check of a store: random histories, compared with a dictionary and numpy."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from unibind.errors import InvalidInputError
from unibind.protocols import VectorStore
from unibind.testing.oracle import Model
from unibind.types import FloatArray, Json

__all__ = ["check_store"]

Place = TypeVar("Place")

_DIM = 8
_MODALITIES = ("image", "sound", "тепло")
_KEYS = (
    *(f"k{n}" for n in range(24)),
    "ключ",
    "a b",
    "a'b\"c",
    "%_",
    "../x",
    "18446744073709551616",
)
_WORDS = ("red", "blue", "it's", '"; DROP TABLE items; --')


def check_store(
    new_place: Callable[[], Place],
    open_at: Callable[[Place], VectorStore],
    *,
    crashed: Callable[[Place], Place] | None = None,
    n_steps: int = 2000,
    seed: int = 0,
    shrink: bool = True,
) -> int:
    """Check that a store keeps its promises through random histories; return how many steps ran.

    The steps are upserts, deletes, searches with and without conditions, reopening, crashing and,
    if the store can, compaction and verification. A history that fails is shrunk to a short one
    and printed as Python.

    Args:
        new_place: Returns a place (a folder, say) where no store is yet.
        open_at: Opens the store at a place, making it if it is not there: space ``"check"``,
            width 8.
        crashed: Returns the place as the death of the process would leave it; None to leave
            crashes out.
        n_steps: How many steps to run at least.
        seed: Another seed, other histories.
        shrink: Shorten a history that fails, which may take minutes.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    # The tools of a plug-in's author: no user of the package needs them installed.
    import hypothesis
    from hypothesis import stateful
    from hypothesis import strategies as st

    n_done = [0]
    keys = st.sampled_from(_KEYS)
    vectors = st.integers(0, len(_VECTORS) - 1)
    metadata = st.fixed_dictionaries(
        {},
        optional={
            "word": st.sampled_from(_WORDS),
            "n": st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 2**40])),
            "flag": st.booleans(),
            "none": st.none(),
        },
    )
    rows = st.lists(st.tuples(keys, vectors, metadata), max_size=6, unique_by=lambda row: row[0])
    modality = st.sampled_from(_MODALITIES)
    into = st.none() | st.lists(modality, min_size=1, unique=True)
    where = st.none() | _conditions()

    class History(stateful.RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.place = new_place()
            self.store = open_at(self.place)
            self.model = Model()

        @stateful.rule(rows=rows, modality=modality)
        def upsert(self, rows: list[tuple[str, int, dict[str, Json]]], modality: str) -> None:
            self.write(rows, modality)

        @stateful.rule(first=vectors, modality=modality)
        def upsert_many(self, first: int, modality: str) -> None:
            n_vectors = len(_VECTORS)
            self.write(
                [(f"m{n}", (first + n) % n_vectors, {"n": n % 5}) for n in range(90)], modality
            )

        def write(self, rows: list[tuple[str, int, dict[str, Json]]], modality: str) -> None:
            n_done[0] += 1
            names = [key for key, _, _ in rows]
            values = _VECTORS[[vector for _, vector, _ in rows]].reshape(-1, _DIM)
            described = [value for _, _, value in rows]
            self.store.upsert(names, values, modality=modality, metadata=described)
            self.model.upsert(names, values, modality, described)

        @stateful.rule(names=st.lists(keys, max_size=5))
        def delete(self, names: list[str]) -> None:
            n_done[0] += 1
            assert self.store.delete(names) == self.model.delete(set(names)), (
                "delete returned another number than were there"
            )

        @stateful.rule(where=_conditions())
        def delete_where(self, where: dict[str, Json]) -> None:
            n_done[0] += 1
            if self.model.knows(where):
                assert self.store.delete(where=where) == self.model.delete_where(where), (
                    f"delete(where={where}) returned another number than fulfil it"
                )

        @stateful.rule(vector=vectors, k=st.integers(1, 130), into=into, where=where)
        def search(
            self, vector: int, k: int, into: list[str] | None, where: dict[str, Json] | None
        ) -> None:
            n_done[0] += 1
            if where is not None and not self.model.knows(where):
                return
            queries = _VECTORS[[vector, (vector + 7) % len(_VECTORS)]]
            found = self.store.search(
                queries, k=k, modalities=into, where=where, calibration="none"
            )
            assert len(found) == len(queries), "search returned another number of lines than asked"
            for query, hits in zip(queries, found, strict=True):
                self.model.check_hits(query, hits, k, into, where)

        @stateful.rule(vector=vectors, k=st.integers(1, 40), where=where)
        def search_calibrated(self, vector: int, k: int, where: dict[str, Json] | None) -> None:
            n_done[0] += 1
            if where is not None and not self.model.knows(where):
                return
            (hits,) = self.store.search(
                _VECTORS[[vector]], k=k, where=where, query_modality=_MODALITIES[0]
            )
            self.model.check_members(hits, k, where)

        @stateful.rule(key=keys)
        def get(self, key: str) -> None:
            n_done[0] += 1
            self.model.check_item(key, self.store.get(key))

        @stateful.rule(vector=vectors, fault=st.sampled_from(list(_FAULTS)))
        def refuse(self, vector: int, fault: str) -> None:
            n_done[0] += 1
            try:
                _FAULTS[fault](self.store, _VECTORS[[vector]])
            except InvalidInputError:
                return
            raise AssertionError(f"{fault} raised no InvalidInputError")

        @stateful.rule()
        def reopen(self) -> None:
            n_done[0] += 1
            self.store.close()
            self.store = open_at(self.place)

        @stateful.precondition(lambda self: crashed is not None)
        @stateful.rule()
        def crash(self) -> None:
            n_done[0] += 1
            assert crashed is not None
            left = crashed(self.place)
            self.store.close()
            self.place, self.store = left, open_at(left)

        @stateful.precondition(lambda self: hasattr(self.store, "compact"))
        @stateful.rule()
        def compact(self) -> None:
            n_done[0] += 1
            self.store.compact()  # type: ignore[attr-defined]

        @stateful.precondition(lambda self: hasattr(self.store, "verify"))
        @stateful.rule()
        def verify(self) -> None:
            n_done[0] += 1
            found = self.store.verify()  # type: ignore[attr-defined]
            assert found.is_clean, f"verify found {found.damages}"

        @stateful.invariant()
        def counts(self) -> None:
            assert self.store.count() == len(self.model.items), "count() is wrong"
            for name in _MODALITIES:
                n_items = sum(item.modality == name for item in self.model.items.values())
                assert self.store.count(name) == n_items, f"count({name!r}) is wrong"

        def teardown(self) -> None:
            self.store.close()

    phases = [hypothesis.Phase.generate]
    settings = hypothesis.settings(
        phases=[*phases, hypothesis.Phase.shrink] if shrink else phases,
        max_examples=8,
        stateful_step_count=50,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    while n_done[0] < n_steps:
        stateful.run_state_machine_as_test(
            hypothesis.seed(seed)(History), settings=settings, _min_steps=20
        )
        seed += 1
    return n_done[0]


def _pool() -> FloatArray:
    generator = np.random.default_rng(20)
    vectors = generator.standard_normal((40, _DIM))
    # Opposite ones and near ones, too; equal ones come from keys that share a row.
    vectors[30:35] = -vectors[:5]
    vectors[35:] = vectors[5:10] + 1e-3
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


_VECTORS = _pool()


def _conditions() -> Any:
    from hypothesis import strategies as st

    number = st.sampled_from([-2, 0, 0.5, 1, 3, 2**40])
    leaf = st.one_of(
        st.builds(lambda word: {"word": word}, st.sampled_from(_WORDS)),
        st.builds(lambda n: {"n": n}, number),
        st.builds(
            lambda name, n: {"n": {name: n}},
            st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
            number,
        ),
        st.builds(lambda low, high: {"n": {"$gte": low, "$lt": high}}, number, number),
        st.builds(lambda words: {"word": {"$in": words}}, st.lists(st.sampled_from(_WORDS))),
        st.builds(lambda word: {"word": {"$ne": word}}, st.sampled_from(_WORDS)),
        st.builds(lambda flag: {"flag": flag}, st.booleans()),
        st.builds(lambda there: {"none": {"$exists": there}}, st.booleans()),
        st.just({"none": None}),
        st.builds(lambda name: {"$modality": name}, st.sampled_from(_MODALITIES)),
        st.builds(lambda key: {"$key": key}, st.sampled_from(_KEYS)),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda part: {"$not": part}, inner),
        ),
        max_leaves=4,
    )


def _spoilt(vectors: FloatArray, value: float) -> FloatArray:
    spoilt = vectors.copy()
    spoilt[0, 0] = value
    return spoilt


_FAULTS: dict[str, Callable[[VectorStore, Any], object]] = {
    "an upsert of NaN": lambda s, v: s.upsert(["k0"], _spoilt(v, np.nan), modality="image"),
    "an upsert of inf": lambda s, v: s.upsert(["k0"], _spoilt(v, np.inf), modality="image"),
    "an upsert of a zero vector": lambda s, v: s.upsert(["k0"], 0 * v, modality="image"),
    "an upsert of float64": lambda s, v: s.upsert(["k0"], v.astype("f8"), modality="image"),
    "an upsert of a wrong width": lambda s, v: s.upsert(["k0"], v[:, :7], modality="image"),
    "an upsert of fewer vectors than keys": lambda s, v: s.upsert(["a", "b"], v, modality="image"),
    "an upsert of a key twice": lambda s, v: s.upsert(
        ["k0", "k0"], np.vstack([v, v]), modality="image"
    ),
    "an upsert of a key that is no str": lambda s, v: s.upsert([2**63], v, modality="image"),  # type: ignore[list-item]
    "an upsert of an empty key": lambda s, v: s.upsert([""], v, modality="image"),
    "an upsert of metadata that is no JSON": lambda s, v: s.upsert(
        ["k0"], v, modality="image", metadata=[{"n": float("nan")}]
    ),
    "a search for k = 0": lambda s, v: s.search(v, k=0),
    "a search for NaN": lambda s, v: s.search(_spoilt(v, np.nan)),
    "a search of a wrong width": lambda s, v: s.search(v[:, :7]),
    "a search for float64": lambda s, v: s.search(v.astype("f8")),
    "a search with an unknown operator": lambda s, v: s.search(v, where={"n": {"$near": 3}}),
    "a search with an unknown calibration": lambda s, v: s.search(v, calibration="magic"),
    "a delete of nothing in particular": lambda s, v: s.delete(),
}
