"""Which items of a set have words to learn from, and which words."""

from pathlib import Path

from unibind.cli.supervision import by_caption, by_class, by_label
from unibind.datasets import LabelledItem
from unibind.knowledge.base import KnowledgeBase


def items(*rows: tuple[str | None, str | None]) -> list[LabelledItem]:
    return [
        LabelledItem(Path(f"{n}.png"), label=label, caption=caption)
        for n, (label, caption) in enumerate(rows)
    ]


def test_captions_and_labels_are_names_as_they_are_and_items_without_are_counted():
    some = items(("Cats", "A cat."), (None, "A dog."), ("Cats", None), (None, None))
    captioned = by_caption(some)
    assert (captioned.items, captioned.names) == ((some[0], some[1]), ("A cat.", "A dog."))
    assert captioned.left_out == {"no caption": 2}
    labelled = by_label(some)
    assert (labelled.items, labelled.names) == ((some[0], some[2]), ("Cats", "Cats"))
    assert labelled.left_out == {"no label": 2}
    assert by_label(items(("a", None))).left_out == {}


def test_a_label_is_a_class_whatever_its_case_article_and_number():
    base = KnowledgeBase("small", ("cat", "polar bear"), ())
    labels = [
        "cat",
        "A cat.",
        "CATS",
        "Polar-Bears",
        "the polar bear",
        "tomcat",
        "dog",
        "dog",
        None,
    ]
    some = items(*((label, None) for label in labels))
    found = by_class(some, base)
    assert found.items == tuple(some[:5])
    assert found.names == ("cat", "cat", "cat", "polar bear", "polar bear")
    assert found.left_out == {"no label": 1, "label is no class of small": 3}
    assert found.unknown == {"dog": 2, "tomcat": 1}
    assert list(found.unknown) == ["dog", "tomcat"]
    assert found.learned_from == "classes of small"


def test_some_of_the_items_keep_their_names_and_what_was_left_out():
    found = by_label(items(("a", None), ("b", None), ("c", None), (None, None)))
    part = found.of([0, 2])
    assert [item.path.name for item in part.items] == ["0.png", "2.png"]
    assert part.names == ("a", "c")
    assert (part.left_out, part.learned_from) == ({"no label": 1}, "class names")
