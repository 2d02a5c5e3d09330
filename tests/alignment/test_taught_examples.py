from itertools import product

import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.examples import TEXT_COUNTS, Examples, Seen
from unibind.alignment.geometry import unit
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


def near(embedding, look, rows, shown, point, references) -> float:
    """Return how near an item is to one class, by the formula."""
    if rows:
        point = unit(TEXT_COUNTS * point + sum(shown.embeddings[row] for row in rows))
    nearest = sorted((float(each @ point) for each in references), reverse=True)[:10]
    found = float(embedding @ point) - np.mean(nearest) / 2
    if rows:
        found += len(rows) / (len(rows) + 2) * float(look @ unit(sum(shown.looks[r] for r in rows)))
    return found


def head_start(examples, shown, centers, references) -> float:
    """Return what is taken off all taught classes, written out."""
    strangers, own = [], []
    for c, rows in enumerate(examples.of(centers.labels)):
        if not rows:
            continue
        point, raises = centers.points()[c], []
        for row in range(len(shown.looks)):
            seen_by = [other for other in rows if other != row] or rows
            one = (shown.embeddings[row], shown.looks[row])
            raised = near(*one, seen_by, shown, point, references)
            raised -= near(*one, [], shown, point, references)
            (own if row in rows else raises).append(raised)
        strangers.append(np.mean(raises))
    strange = np.mean(strangers)
    return strange + 0.25 * max(0, np.mean(own) - strange)


def test_where_all_classes_are_taught_nothing_is_taken_off(draw):
    centers = ClassCenters(("a", "b"), draw(2, 1, 8), SpaceId("s"), centred=False)
    examples = Examples(("a", "b"), draw(2, 5), "e")
    items, shown = seen(draw, 3), seen(draw, 2)
    scores = examples.scores(items, shown, centers, references=NONE)
    for n, (c, row) in product(range(3), enumerate(range(2))):
        expected = near(
            items.embeddings[n], items.looks[n], [row], shown, centers.points()[c], np.zeros((1, 8))
        )
        assert scores[n, c] == pytest.approx(expected, abs=1e-5)


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


def test_scores_are_the_formula(centers, examples, draw):
    items, shown, references = seen(draw, 6), seen(draw, 4), draw(20, 8)
    scores = examples.scores(items, shown, centers, references=references)
    start = head_start(examples, shown, centers, references)
    rows_of = {"a cat": [], "a dog": [0, 2], "an owl": [1]}
    for n in range(6):
        for c, label in enumerate(LABELS):
            rows = rows_of[label]
            point = centers.points()[c]
            if rows:
                point = unit(TEXT_COUNTS * point + sum(shown.embeddings[row] for row in rows))
            nearest = sorted((float(each @ point) for each in references), reverse=True)[:10]
            expected = float(items.embeddings[n] @ point) - np.mean(nearest) / 2
            if rows:
                look = unit(sum(shown.looks[row] for row in rows))
                expected += len(rows) / (len(rows) + 2) * float(items.looks[n] @ look) - start
            assert scores[n, c] == pytest.approx(expected, abs=1e-5)


def test_without_examples_of_the_listed_classes_the_text_alone_speaks(centers, draw):
    items, others = seen(draw, 6), Examples(("a newt",), draw(1, 5), "e")
    scores = others.scores(items, seen(draw, 1), centers, references=NONE)
    np.testing.assert_array_equal(scores, centers.scores(items.embeddings))


def test_more_examples_find_more_of_a_class(draw):
    """Texts say nothing here; items of a class lie around a place that only examples show."""
    generator = np.random.default_rng(1)
    n_classes, labels = 10, tuple(f"class {c}" for c in range(10))
    centers = ClassCenters(labels, draw(10, 1, 8), SpaceId("s"), centred=False)
    true_embeddings, true_looks = draw(n_classes, 8), draw(n_classes, 5)

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
    assert found[0] < 0.3 < 0.8 < found[-1]


def test_what_was_taught_is_forgotten_by_name(examples):
    left = examples.without(["A DOG"])
    assert left.labels == ("An owl!", "a newt")
    np.testing.assert_array_equal(left.features, examples.features[[1, 3]])


def test_an_example_is_taken_once(examples):
    same = examples.plus(["a dog", "a dog", "a cat"], examples.features[[0, 0, 0]])
    assert same.labels == (*examples.labels, "a cat")


def test_reasons_name_the_examples_and_how_alike_the_item_looks(examples, draw):
    shown, look = seen(draw, 4), draw(1, 5)[0]
    (reason,) = examples.reasons("a dog", look, shown)
    alike = float(look @ unit(shown.looks[0] + shown.looks[2]))
    assert reason.text == f"looks like the mean of 2 examples (cosine {alike:.2f})"
    assert reason.source == "example"
    assert reason.share == pytest.approx(alike / 2)
    assert examples.reasons("an owl", look, shown)[0].text.startswith("looks like the one example")
    assert examples.reasons("a cat", look, shown) == ()


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
