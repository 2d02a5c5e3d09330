import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibind.evaluation.names import ClassFinder, plain_name

PLAIN = {
    "Two cats!": "cat",
    "a cat": "cat",
    "The  CAT.": "cat",
    "An owl": "owl",
    "some potatoes": "potato",
    "Cherries": "cherry",
    "pies": "pie",
    "foxes": "fox",
    "watches": "watch",
    "brushes": "brush",
    "dresses": "dress",
    "shoes": "shoe",
    "toes": "toe",
    "cookies": "cookie",
    "buses": "bus",
    "women": "woman",
    "three mice": "mouse",
    "holly leaves": "holly leaf",
    "a pair of scissors": "scissors",
    "pair of shoes": "shoe",
    "a bunch of the grapes": "grape",
    "a piece of cake": "cake",
    "a head of lettuce": "lettuce",
    "glass": "glass",
    "octopus": "octopus",
    "iris": "iris",
    "gas": "gas",
    "T-shirt": "t shirt",
    "T\u2010shirts": "t shirt",
    "jack-o\u2019-lantern": "jack o' lantern",
    "\uff23\uff21\uff34": "cat",  # the wide letters of East Asian keyboards
    "cats and dogs": "cats and dog",
    "the": "the",
    "a": "a",
    "an apple a day": "apple a day",
    "antelope": "antelope",
    "...": "",
    "": "",
}


@pytest.mark.parametrize(("name", "plain"), PLAIN.items())
def test_a_plain_name_has_no_case_article_count_punctuation_or_plural(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize("plain", sorted(set(PLAIN.values())))
def test_what_is_plain_stays(plain):
    assert plain_name(plain) == plain


CLASSES = (
    "cat", "dog", "tiger", "potato", "car", "railway car", "fire engine", "engine", "bear", "box",
    "t-shirt", "shoe", "star", "fish", "octopus", "cup", "cake", "scissors",
)  # fmt: skip
FOUND = {
    "A cat.": "cat",
    "Two cats!": "cat",
    "A Sumatran tiger.": "tiger",
    "A tiger in the grass": "tiger",
    "A tiger, and a dog": "tiger",
    "A dog who has seen a cat": "dog",
    "dog - asleep": "dog",
    "a potato (raw)": "potato",
    "A red fire engine": "fire engine",  # the longest, not "engine"
    "An old railway car": None,  # only what is called so, and this is one of its kind
    "railway car": "railway car",
    "T-shirts": "t-shirt",
    "a high-heeled shoe": "shoe",
    "A pair of shoes": "shoe",
    "pair of scissors": "scissors",
    "OCTOPUS": "octopus",
    # what is not the class
    "A tiger's cage": None,
    "sweet potato": None,
    "A brown teddy bear": None,
    "A post box.": None,
    "moon cake": None,
    "trophy cup": None,
    "star-struck": None,
    "a fish-shaped balloon": None,
    "a cat-like robot": None,
    "caterpillar": None,
    "scar": None,
    "catfish": None,
    "an elephant": None,
    "": None,
    "?!": None,
}


@pytest.mark.parametrize(("caption", "name"), FOUND.items())
def test_a_caption_names_the_class_that_its_first_clause_ends_with(caption, name):
    assert ClassFinder(CLASSES).find(caption) == name


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_found_by_its_own_name(name):
    finder = ClassFinder(CLASSES)
    for caption in (name, f"A {name}.", f"the {name.upper()}!", f"Two {name} in a field"):
        assert finder.find(caption) == name


WORDS = st.sampled_from([
    "a", "the", "two", "cat", "cats", "big", "potatoes", "sweet", "railway", "car", "of", "with",
    "fire", "engine", "T-shirt", "shoes", "star", "-", ",", ".", "'s", "pair", "octopus", "and",
])  # fmt: skip


@given(st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=40))
def test_all_words_of_a_class_that_is_found_are_in_the_caption(caption):
    found = ClassFinder(CLASSES).find(caption)
    if found is not None:
        plain = {plain_name(word) for word in caption.replace("-", " ").replace(",", " ").split()}
        assert set(plain_name(found).split()) <= plain


@given(st.lists(WORDS, max_size=8).map(" ".join))
def test_case_and_a_full_stop_change_nothing(caption):
    finder = ClassFinder(CLASSES)
    assert finder.find(caption.upper() + ".") == finder.find(caption)
