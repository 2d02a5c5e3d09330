"""Searches against brute force: every kind, filters, deletions, pages, groups, ranges, words."""

from collections.abc import Iterator

import numpy as np
import pytest

from unibind.errors import InvalidInputError, SpaceMismatchError
from unibind.retrieval.maintenance import restore
from unibind.retrieval.plan import KINDS
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

DIM = 32
N_ROWS = 12_000
# Each row belongs to one of these shares of the store.
SHARES = {"s0.0001": 10_000, "s0.001": 1000, "s0.01": 100, "s0.1": 10, "s0.5": 2}


def _clustered(n_rows: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centers = np.random.default_rng(7).standard_normal((200, DIM))
    rows = centers[generator.integers(0, 200, n_rows)] + generator.standard_normal((n_rows, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Iterator[LocalStore]:
    rows = _clustered(N_ROWS, 1)
    path = tmp_path_factory.mktemp("large")
    with LocalStore.open(path, space=SpaceId("s"), dim=DIM) as store:
        for start in range(0, N_ROWS, 4000):
            numbers = range(start, start + 4000)
            store.upsert(
                [f"k{n}" for n in numbers],
                rows[start : start + 4000],
                modality="image",
                metadata=[
                    {share: n % every == 0 for share, every in SHARES.items()} for n in numbers
                ],
            )
        yield store


@pytest.mark.parametrize("kind", KINDS)
def test_filters_and_deletions_cost_no_recall(kind, large, fast_folder):
    large.snapshot(fast_folder / "snapshot")
    restore(fast_folder / "snapshot", fast_folder / "store")
    rows, queries = _clustered(N_ROWS, 1), _clustered(300, 2)
    products = queries @ rows.T
    order = np.random.default_rng(3).permutation(N_ROWS)
    with LocalStore.open(fast_folder / "store") as store:
        plan = store.rebuild(kind=kind, recall=0.999)["image"]
        assert (plan.kind, plan.recall >= 0.999) == (kind, True)
        for percentage in (0, 10, 50):
            gone = order[: N_ROWS * percentage // 100]
            store.delete([f"k{n}" for n in gone])
            products[:, gone] = -np.inf
            for share, every in {"all": 1, **SHARES}.items():
                among = np.arange(N_ROWS) % every == 0
                where = None if share == "all" else {share: True}
                expected = np.where(among, products, -np.inf)
                found = store.search(queries, k=10, where=where)
                assert _recall(found, expected) >= 0.999, f"{share}, {percentage} % deleted"


def _recall(found, products) -> float:
    """Return the share of the ten nearest that were found; no excluded item, no hit too few."""
    wanted = min(10, int(np.isfinite(products[0]).sum()))
    assert {len(hits) for hits in found} == {wanted}, "fewer hits than exist"
    if not wanted:
        return 1.0
    there = -products[:, np.isfinite(products[0])]
    edge = -np.partition(there, wanted - 1, axis=1)[:, wanted - 1]
    numbers = np.array([[int(hit.key[1:]) for hit in hits] for hits in found])
    scores = np.take_along_axis(products, numbers, axis=1)
    assert np.isfinite(scores).all(), "an excluded item was found"
    return float((scores >= edge[:, None] - 1e-6).mean())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "exact"])
def test_an_index_itself_keeps_its_recall_among_half_of_its_rows(kind, tmp_path):
    from unibind.retrieval.faiss_index import build, exact, load
    from unibind.retrieval.plan import Plan

    rows, queries = _clustered(8000, 1), _clustered(30, 2)
    build(rows, Plan(kind), tmp_path / "index")
    index = load(tmp_path / "index", Plan(kind), rows)
    effort = {"hnsw": 256, "ivfpq": 64, "int8": 64, "binary": 1024}[kind]
    for every in (2, 10):
        among = np.arange(8000) % every == 0
        truth = exact(rows, queries, 10, among=among).slots
        found = index.candidates(queries, 10, effort=effort, share=1 / every, among=among).slots
        shares = [len(set(t) & set(f)) / 10 for t, f in zip(truth, found, strict=True)]
        assert np.mean(shares) >= 0.99


def test_rows_added_after_the_build_and_a_lost_index_are_no_loss(fast_folder, caplog):
    rows = _clustered(9000, 4)
    keys = [f"k{n}" for n in range(9000)]
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=DIM) as store:
        store.upsert(keys[:8000], rows[:8000], modality="image")
        store.rebuild(kind="int8")
        store.upsert(keys[8000:], rows[8000:], modality="image")
        assert store.stats().modalities["image"].n_unindexed == 1000
        found = store.search(rows[7990:8010], k=1)
        assert [hits[0].key for hits in found] == keys[7990:8010]
        (file,) = (fast_folder / "s" / "indexes").glob("*.faiss")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with LocalStore.open(fast_folder / "s", read_only=True) as store:
        assert store.search(rows[5:6], k=1)[0][0].key == "k5"
        assert "refused" in caplog.text
    with LocalStore.open(fast_folder / "s") as store:
        assert store.search(rows[5:6], k=1)[0][0].key == "k5"
        assert store.verify().is_clean
        assert store.stats().modalities["image"].n_unindexed == 0
    assert not file.exists()


def test_an_exact_score_has_the_same_bits_alone_in_a_batch_and_at_any_depth(large):
    queries = _clustered(30, 5)
    batch = large.search(queries, k=5, exact=True)
    for query, hits in zip(queries, batch, strict=True):
        assert large.search(query[None, :], k=5, exact=True) == [hits]
        assert large.search(query[None, :], k=60, exact=True)[0][:5] == hits
    for one, other in zip(batch, large.search(queries, k=5), strict=True):
        assert [hit.key for hit in one] == [hit.key for hit in other]
        np.testing.assert_allclose(
            [hit.score for hit in one], [hit.score for hit in other], atol=1e-6
        )


def test_auto_measures_what_it_chose(large, monkeypatch):
    monkeypatch.setattr("unibind.retrieval.plan._SMALL", 1000)
    try:
        plan = large.rebuild(kind="auto", recall=0.9, memory=N_ROWS * 40)["image"]
        assert plan.kind != "hnsw", "the graph does not fit"
        assert plan.recall >= 0.9
        assert large.stats().modalities["image"].plan == plan
        assert large.rebuild(recall=1.0)["image"].kind == "exact"
    finally:
        large.rebuild(kind="exact")


def test_pages_hold_each_item_once_while_others_write(fast_folder, unit_rows):
    rows = unit_rows(60, 8)
    rows[20:40] = rows[20]  # Twenty items of one score.
    query = unit_rows(1, 8, 9)[0]
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        store.upsert([f"k{n:02}" for n in range(60)], rows, modality="image")
        (whole,) = store.search(query[None, :], k=60, exact=True)
        seen = []
        for number, page in enumerate(store.pages(query, page_size=7)):
            seen += page
            if number == 1:
                store.upsert(["new best"], query[None, :], modality="image")
                store.delete([whole[-1].key])
        assert seen == whole[:-1]
        assert len(next(store.pages(query, page_size=1000))) == 60


def test_groups_keep_the_best_of_each(fast_folder, unit_rows):
    rows, query = unit_rows(90, 8), unit_rows(1, 8, 9)
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        metadata = [{"g": n % 7} if n % 9 else {} for n in range(90)]
        store.upsert([f"k{n}" for n in range(90)], rows, modality="image", metadata=metadata)
        store.upsert(["t"], -query, modality="text")
        (hits,) = store.search(query, k=50, group_by="g", calibration="none")
        best: dict = {}
        for hit in store.search(query, k=91, calibration="none")[0]:
            best.setdefault(hit.metadata.get("g"), hit)
        assert hits == list(best.values())
        assert len(hits) == 8
        (hits,) = store.search(query, k=5, group_by="modality", calibration="none")
        assert {hit.modality for hit in hits} == {"image", "text"}
        assert store.search(query, k=3, group_by="g", calibration="none") == [
            list(best.values())[:3]
        ]


def test_a_range_holds_every_item_above_the_score(large):
    queries, rows = _clustered(3, 6), _clustered(N_ROWS, 1)
    products = queries.astype(np.float64) @ rows.T.astype(np.float64)
    for line, hits in enumerate(large.search(queries, k=None, min_score=0.6)):
        expected = {f"k{n}" for n in np.flatnonzero(products[line] >= 0.6)}
        assert {hit.key for hit in hits} == expected
        assert expected
        # A range and a few nearest come by different sums: the last bits may differ.
        between = (hits[1].score + hits[2].score) / 2
        near = large.search(queries[line : line + 1], k=3, min_score=between)[0]
        assert [hit.key for hit in near] == [hit.key for hit in hits[:2]]
        assert [hit.score for hit in near] == pytest.approx(
            [hit.score for hit in hits[:2]], abs=1e-6
        )


def test_k_beyond_the_store_and_an_empty_store(fast_folder, unit_rows):
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        assert store.search(unit_rows(2, 8), k=5) == [[], []]
        assert store.search(np.empty((0, 8), np.float32)) == []
        assert list(store.pages(unit_rows(1, 8)[0])) == []
        assert store.search(unit_rows(1, 8), k=None, min_score=0.0) == [[]]
        store.upsert(["a"], unit_rows(1, 8), modality="image")
        assert len(store.search(unit_rows(1, 8), k=10**9)[0]) == 1
        assert store.search(unit_rows(1, 8), modalities=["sound"]) == [[]]
        assert store.search(unit_rows(1, 8), modalities=[]) == [[]]


def test_long_keys_numbers_as_keys_and_a_megabyte_of_metadata_come_back(fast_folder, unit_rows):
    rows = unit_rows(4, 8)
    keys = ["k" * 10_240, "я" * 5_120, str(2**64 - 1), str(-(2**63))]
    metadata = [{}, {"note": "word " * 210_000}, {"n": 2**62}, {"n": [1, {"deep": None}]}]
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        store.upsert(keys, rows, modality="image", metadata=metadata)
    with LocalStore.open(fast_folder / "s") as store:
        for n, line in enumerate(store.search(rows, k=1)):
            assert (line[0].key, line[0].metadata) == (keys[n], metadata[n])
            assert store.get(keys[n]).metadata == metadata[n]
        # What a caller does to its hits is no other's concern.
        store.search(rows[3:], k=1)[0][0].metadata["n"].append("mine")
        assert store.search(rows[3:], k=1)[0][0].metadata == metadata[3]
        assert [hit.key for hit in store.search(None, text="word")[0]] == [keys[1]]
        assert [hit.key for hit in store.search(rows, where={"n": 2**62})[0]] == [keys[2]]
        assert store.delete(keys[:2]) == 2
        assert [item.key for item in store.scan()] == sorted(keys[2:])
        assert store.verify().is_clean


def test_words_and_vectors_are_fused_and_words_alone_work(fast_folder, unit_rows):
    rows = unit_rows(40, 8)
    captions = [f"a {'crimson' if n == 33 else 'plain'} bird number{n}" for n in range(40)]
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        store.upsert(
            [f"k{n}" for n in range(40)],
            rows,
            modality="image",
            metadata=[{"caption": c, "deep": {"er": [f"x{n}"]}} for n, c in enumerate(captions)],
        )
        (alone,) = store.search(None, text="CRIMSON", k=5)
        assert [hit.key for hit in alone] == ["k33"]
        (hybrid,) = store.search(rows[7:8], text="crimson", k=5)
        assert {hybrid[0].key, hybrid[1].key} == {"k7", "k33"}
        assert [h.key for h in store.search(None, text="x12", k=5)[0]] == ["k12"]
        two = store.search(rows[:2], text=["number5", "number6"], k=40)
        assert [line[0].key for line in two] != []
        assert store.search(None, text="crimson", where={"caption": "other"}) == [[]]
        assert store.search(None, text="crimson", modalities=["sound"]) == [[]]
        store.delete(["k33"])
        assert store.search(None, text="crimson") == [[]]


@pytest.mark.parametrize(
    "text", ['"', 'bird" OR 1', "NEAR(", "caption:bird", "*", "bird AND", "'; DROP", "", "\0", "-"]
)
def test_no_text_is_an_operator_of_the_word_index(text, fast_folder, unit_rows):
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        store.upsert(["a"], unit_rows(1, 8), modality="image", metadata=[{"c": "one bird"}])
        (hits,) = store.search(None, text=text)
        assert len(hits) == ("bird" in text)


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        ({"k": 0}, "at least 1"),
        ({"k": None}, "min_score was needed"),
        ({"calibration": "magic"}, "none, centre, standardise"),
        ({"modalities": "image"}, "list of names"),
        ({"min_score": float("nan")}, "finite"),
        ({"text": "a", "group_by": "g"}, "no common score"),
        ({"text": ["a", "b"]}, "2 texts for 1 queries"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(arguments, telling, fast_folder, unit_rows):
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        with pytest.raises(InvalidInputError, match=telling):
            store.search(unit_rows(1, 8), **arguments)
        with pytest.raises(InvalidInputError, match="neither queries nor text"):
            store.search(None)


def test_a_store_of_another_space_or_width_is_refused(fast_folder):
    LocalStore.open(fast_folder / "s", space=SpaceId("one"), dim=8).close()
    with pytest.raises(SpaceMismatchError, match="space one, space two was asked for"):
        LocalStore.open(fast_folder / "s", space=SpaceId("two"), dim=8)
    with pytest.raises(SpaceMismatchError, match="width 8, 9 was asked for"):
        LocalStore.open(fast_folder / "s", dim=9)
    with pytest.raises(InvalidInputError, match="positive int"):
        LocalStore.open(fast_folder / "t", space=SpaceId("one"), dim=0)


@pytest.mark.parametrize("k", [10**6, 2**62, 2**63, 10**30])
def test_no_k_is_too_large(k, fast_folder):
    rows = _clustered(1200, 6)
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=DIM) as store:
        store.upsert(
            [f"k{n}" for n in range(1200)],
            rows,
            modality="image",
            metadata=[{"n": n, "word": "alike"} for n in range(1200)],
        )
        for kind in ("exact", "hnsw", "int8"):
            store.rebuild(kind=kind)
            assert len(store.search(rows[:1], k=k)[0]) == 1200
        assert len(store.search(rows[:1], k=k, text="alike")[0]) == 1200
        assert len(store.search(None, k=k, text="alike")[0]) == 1200
        assert len(store.search(rows[:1], k=k, group_by="n")[0]) == 1200
        assert len(store.search(rows[:1], k=k, where={"n": {"$lt": 50}})[0]) == 50
