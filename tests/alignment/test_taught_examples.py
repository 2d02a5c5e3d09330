from itertools import product

import numpy as np
import pytest

from unibind.alignment import posterior
from unibind.alignment.centers import ClassCenters
from unibind.alignment.examples import Examples, Seen
from unibind.alignment.geometry import unit
from unibind.alignment.posterior import HEIGHT, NOISE
from unibind.errors import InvalidInputError
from unibind.types import SpaceId

LABELS = ("a cat", "a dog", "an owl")
NONE = np.zeros((0, 8), dtype=np.float32)


@pytest.fixture
def centers(draw):
    return ClassCenters(LABELS, draw(3, 1, 8), SpaceId("s"), centred=False)


@pytest.fixture
def examples(draw):
    return Examples(("a dog", "An owl!", "a dog", "a newt"), draw(4, 5), "e")


def seen(draw, n: int) -> Seen:
    return Seen(draw(n, 8), draw(n, 5))


def by_text(embedding, centers, references) -> list[float]:
    """Return how near an embedding is to the texts, hubs taken off, written out."""
    found = []
    for point in centers.points():
        nearest = sorted((float(each @ point) for each in references), reverse=True)[:10]
        found.append(float(embedding @ point) - (float(np.mean(nearest)) / 2 if nearest else 0))
    return found


def alike(items, n, others, m) -> float:
    """Return how alike an item and another are: mostly by their looks."""

    def steeper(cosine) -> float:
        return float(np.exp(cosine) - 1) / (np.e - 1)

    by_looks = steeper(items.looks[n] @ others.looks[m])
    return 0.75 * by_looks + 0.25 * steeper(items.embeddings[n] @ others.embeddings[m])


def raised(items, n, kept, column, of, shown, texts) -> float:
    """Return by how much some examples raise a class: the mean of the process, solved anew."""
    kernel = np.array([[alike(shown, a, shown, b) for b in kept] for a in kept])
    residual = [HEIGHT * (of[row] == column) - texts[row][column] for row in kept]
    weights = np.linalg.solve(kernel + NOISE * np.eye(len(kept)), residual)
    return sum(alike(items, n, shown, row) * w for row, w in zip(kept, weights, strict=True))


def head_start(of, shown, texts) -> float:
    """Return what is taken off all taught classes: each fit made again without what it asks of."""
    rows, own, strangers = sorted(of), [], []
    for row in rows:
        rest = [other for other in rows if other != row]
        own.append(raised(shown, row, rest, of[row], of, shown, texts))
    for column in set(of.values()):
        rest = [row for row in rows if of[row] != column]
        strangers.append(
            np.mean(
                [
                    raised(shown, row, rest, other, of, shown, texts)
                    for row in rows
                    if of[row] == column
                    for other in set(of.values()) - {column}
                ]
            )
        )
    strange = np.mean(strangers)
    return strange + max(0, np.mean(own) - strange) / 4


@pytest.mark.parametrize("n_taught", [2, 3])
def test_scores_are_the_process_solved_anew_without_what_is_asked_of(draw, n_taught):
    centers = ClassCenters(LABELS, draw(3, 1, 8), SpaceId("s"), centred=False)
    of = dict(enumerate([1, 2, 1, 2, 0][: 2 * n_taught - (n_taught == 3)]))
    examples = Examples(tuple(LABELS[c] for c in of.values()), draw(len(of), 5), "e")
    items, shown, references = seen(draw, 6), seen(draw, len(of)), draw(20, 8)
    scores = examples.scores(items, shown, centers, references=references)
    texts = [by_text(each, centers, references) for each in shown.embeddings]
    start = head_start(of, shown, texts) if n_taught < 3 else 0.0
    for n, c in product(range(6), range(3)):
        expected = by_text(items.embeddings[n], centers, references)[c]
        if c in of.values():
            expected += raised(items, n, sorted(of), c, of, shown, texts) - start
        assert scores[n, c] == pytest.approx(expected, abs=1e-4)


def test_one_example_of_one_class_gives_no_head_start_where_looks_are_centred(centers, draw):
    examples, items, shown = Examples(("a dog",), draw(1, 5), "e"), seen(draw, 4), seen(draw, 1)
    for references, is_centred in ((draw(20, 8), True), (NONE, False)):
        scores = examples.scores(items, shown, centers, references=references)
        text = by_text(shown.embeddings[0], centers, references)[1]
        weight = (HEIGHT - text) / (1 + NOISE)
        for n in range(4):
            expected = by_text(items.embeddings[n], centers, references)[1]
            expected += weight * alike(items, n, shown, 0)
            expected -= 0 if is_centred else weight / 2
            assert scores[n, 1] == pytest.approx(expected, abs=1e-4)


def test_of_one_class_alone_half_of_its_own_raise_is_thought_to_be_strangers(centers, draw):
    examples, items, shown = Examples(("a dog",) * 3, draw(3, 5), "e"), seen(draw, 4), seen(draw, 3)
    scores = examples.scores(items, shown, centers, references=NONE)
    texts, of = (
        [by_text(each, centers, NONE) for each in shown.embeddings],
        dict.fromkeys(range(3), 1),
    )
    gain = np.mean([raised(shown, n, [r for r in of if r != n], 1, of, shown, texts) for n in of])
    start = gain / 2 + max(0, gain / 2) / 4
    for n in range(4):
        expected = by_text(items.embeddings[n], centers, NONE)[1]
        expected += raised(items, n, list(of), 1, of, shown, texts) - start
        assert scores[n, 1] == pytest.approx(expected, abs=1e-4)


def test_many_examples_are_solved_in_parts_of_whole_classes(draw, monkeypatch):
    """And what two parts do not share is what each says alone."""
    labels = tuple(f"class {c}" for c in range(6))
    centers = ClassCenters(labels, draw(6, 1, 8), SpaceId("s"), centred=False)
    examples = Examples(tuple(np.repeat(labels, 4)), draw(24, 5), "e")
    items, shown = seen(draw, 9), seen(draw, 24)
    monkeypatch.setattr(posterior, "LARGEST", 12)
    scores = examples.scores(items, shown, centers, references=NONE)
    for half in (slice(0, 3), slice(3, 6)):
        rows = list(range(24))[half.start * 4 : half.stop * 4]
        some = ClassCenters(labels[half], centers.vectors[half], SpaceId("s"), centred=False)
        kept = Examples(tuple(examples.labels[row] for row in rows), examples.features[rows], "e")
        alone = kept.scores(items, shown.at(rows), some, references=NONE)
        np.testing.assert_allclose(scores[:, half], alone, atol=1e-5)


def test_examples_tell_how_sure_to_be_each_left_out_in_turn(draw):
    """Looks that tell the classes apart make surer than looks that tell nothing."""
    generator = np.random.default_rng(5)
    labels = tuple(f"class {c}" for c in range(5))
    centers = ClassCenters(labels, draw(5, 1, 8), SpaceId("s"), centred=False)
    rows, places = np.repeat(np.arange(5), 12), draw(5, 16)
    examples = Examples(tuple(labels[row] for row in rows), np.zeros((60, 5)), "e")
    found = {}
    for kind, looks in (
        ("clear", unit(places[rows] + 0.1 * generator.normal(size=(60, 16)))),
        ("vague", draw(60, 16)),
    ):
        learned = examples.learned(Seen(draw(60, 8), looks), centers, references=NONE)
        found[kind] = learned.calibration(0.05)
    assert found["clear"].temperature < found["vague"].temperature
    assert found["clear"].temperature >= 0.05
    few = Examples(labels[:2], np.zeros((2, 5)), "e").learned(
        seen(draw, 2), centers, references=NONE
    )
    assert few.calibration(0.05) is None


def test_what_all_items_share_does_not_draw_them_to_the_taught_classes(draw):
    """Looks share a large part, as raw features do; two of ten classes are taught."""
    generator = np.random.default_rng(3)
    labels = tuple(f"class {c}" for c in range(10))
    texts, looks = draw(10, 8), draw(10, 16)
    centers = ClassCenters(labels, texts[:, None], SpaceId("s"), centred=False)

    def items(rows) -> Seen:
        spread = generator.normal(size=(len(rows), 8))
        common = 1 + 4 * looks[rows] + 0.1 * generator.normal(size=(len(rows), 16))
        return Seen(unit(texts[rows] + 0.6 * spread), unit(common))

    right = np.repeat(np.arange(10), 40)
    asked, rows = items(right), np.repeat([0, 1], 4)
    examples = Examples(tuple(labels[row] for row in rows), np.zeros((8, 5)), "e")
    found = examples.scores(asked, items(rows), centers, references=NONE).argmax(axis=1)
    by_text = centers.scores(asked.embeddings).argmax(axis=1)
    untaught = right > 1
    text_alone = float((by_text == right)[untaught].mean())
    assert float((found == right)[untaught].mean()) > 0.8 * text_alone
    assert float((found == right)[~untaught].mean()) > float((by_text == right)[~untaught].mean())


def test_without_examples_of_the_listed_classes_the_text_alone_speaks(centers, draw):
    items, others = seen(draw, 6), Examples(("a newt",), draw(1, 5), "e")
    scores = others.scores(items, seen(draw, 1), centers, references=NONE)
    np.testing.assert_array_equal(scores, centers.scores(items.embeddings))


def test_more_examples_find_more_of_a_class(draw):
    """Texts say nothing here; items of a class lie around a place that only examples show."""
    generator = np.random.default_rng(1)
    n_classes, labels = 10, tuple(f"class {c}" for c in range(10))
    centers = ClassCenters(labels, draw(10, 1, 8), SpaceId("s"), centred=False)
    true_embeddings, true_looks = draw(n_classes, 8), draw(n_classes, 16)

    def items(rows) -> Seen:
        def around(places, spread):
            return unit(places[rows] + spread * generator.normal(size=places[rows].shape))

        return Seen(around(true_embeddings, 0.4), around(true_looks, 0.6))

    asked, right = items(np.repeat(np.arange(10), 30)), np.repeat(np.arange(10), 30)
    found = []
    for n in (0, 1, 4, 16):
        rows = np.repeat(np.arange(10), n)
        examples = Examples(tuple(labels[row] for row in rows), np.zeros((len(rows), 5)), "e")
        scores = examples.scores(asked, items(rows), centers, references=NONE)
        found.append(float((scores.argmax(axis=1) == right).mean()))
    assert found == sorted(found)
    assert found[0] < 0.3 < 0.7 < found[-1]


def test_what_was_taught_is_forgotten_by_name(examples):
    left = examples.without(["A DOG"])
    assert left.labels == ("An owl!", "a newt")
    np.testing.assert_array_equal(left.features, examples.features[[1, 3]])


def test_an_example_is_taken_once(examples):
    same = examples.plus(["a dog", "a dog", "a cat"], examples.features[[0, 0, 0]])
    assert same.labels == (*examples.labels, "a cat")


def test_the_examples_part_in_a_score_is_what_they_add_to_it(centers, examples, draw):
    shown, items = seen(draw, 4), seen(draw, 1)
    learned = examples.learned(shown, centers, references=NONE)
    part = learned.part("a dog", items)
    cosine = float(items.looks[0] @ unit(shown.looks[0] + shown.looks[2]))
    assert part.text == f"looks like the mean of 2 examples (cosine {cosine:.2f})"
    assert part.source == "example"
    added = learned.scores(items)[0, 1] - centers.scores(items.embeddings)[0, 1]
    assert part.value == pytest.approx(added, abs=1e-5)
    assert learned.part("an owl", items).text.startswith("looks like the one example")
    assert learned.part("a cat", items) is None


def test_what_is_opened_is_what_was_saved(examples, tmp_path):
    examples.save(tmp_path / "taught", space=SpaceId("s"))
    opened = Examples.open(tmp_path / "taught")
    assert (opened.labels, opened.encoder) == (examples.labels, "e")
    np.testing.assert_array_equal(opened.features, examples.features)


def test_what_does_not_fit_together_is_refused(examples, draw):
    with pytest.raises(InvalidInputError, match="2 examples with 1 labels"):
        Examples(("a cat",), draw(2, 5), "e")
    with pytest.raises(InvalidInputError, match="example 2 has an empty label"):
        examples.plus(["a cat", " "], draw(2, 5))
    with pytest.raises(InvalidInputError, match="features of examples have shape"):
        examples.plus(["a cat"], draw(1, 4))
    with pytest.raises(InvalidInputError, match="NaN"):
        examples.plus(["a cat"], np.full((1, 5), np.nan, dtype=np.float32))
