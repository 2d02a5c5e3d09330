"""``unibind search``: the space's store, asked by words and by pictures."""

import json
import shutil

import pytest

import unibind as package
from unibind.cli.search import condition_of


@pytest.fixture(scope="module")
def indexes(mini_weights, named_stamps, tmp_path_factory):
    """Three pictures and a text, stored under what they show."""
    folder = tmp_path_factory.mktemp("stored") / "indexes"
    metadata = [{"licence": "GPL-2.0", "width": n * 100, "flies": n == 0} for n in range(3)]
    with package.open(folder / "mini") as engine:
        pictures = list(named_stamps.values())
        engine.add("image", pictures, keys=list(named_stamps), metadata=metadata)
        engine.add("text", ["A bird sings."], keys=["song"], metadata=[{"licence": "CC0"}])
    return folder


@pytest.fixture
def stored(here, indexes, named_stamps):
    """The same in the working directory, with the pictures beside it."""
    shutil.copytree(indexes, here / "indexes")
    for name, path in named_stamps.items():
        shutil.copy(path, here / f"{name}.png")


def hits(finished) -> list[str]:
    assert finished.code == 0, finished.err
    return [hit["key"] for hit in json.loads(finished.out)["hits"]]


def test_words_and_pictures_find_what_is_alike(unibind, stored):
    finished = unibind("search", "--text", "a car", "--json")
    result = json.loads(finished.out)
    assert result["query"] == {"modality": "text", "text": "a car"}
    assert result["hits"][0]["key"] == "car"
    assert result["hits"][0]["metadata"] == {"licence": "GPL-2.0", "width": 200, "flies": False}
    scores = [hit["score"] for hit in result["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4
    assert hits(unibind("search", "fruit.png", "--into", "image", "-k", 1, "--json")) == ["fruit"]


def test_it_finds_what_the_engine_finds(unibind, stored):
    with package.open("mini") as engine:
        (expected,) = engine.search("text", ["sweet"], into=["image"], k=2)
    found = unibind("search", "--text", "sweet", "--into", "image", "--k", 2, "--json")
    assert hits(found) == [hit.key for hit in expected]


def test_people_see_rank_score_key_and_metadata(unibind, stored):
    heading, first, second, *_ = unibind(
        "search", "--text", "a bird", "--into", "image"
    ).out.splitlines()
    assert heading.split() == ["score", "modality", "key,", "and", "metadata"]
    assert first.split()[0] == "1"
    assert first.split()[2:] == ["image", "bird"]
    assert second.split() == ["licence=GPL-2.0,", "width=0,", "flies=true"]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (["licence=CC0"], {"song"}),
        (["width=100"], {"fruit"}),
        (["flies=true"], {"bird"}),
        (["licence=GPL-2.0", '{"width": {"$gte": 100}}'], {"fruit", "car"}),
        (["licence=none such"], set()),
    ],
)
def test_conditions_narrow_what_is_found(unibind, stored, conditions, found):
    options = [part for each in conditions for part in ("--where", each)]
    assert set(hits(unibind("search", "--text", "a bird", *options, "--json"))) == found
    if not found:
        assert "nothing found" in unibind("search", "--text", "a bird", *options).out


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        ([], None),
        (["a=b"], {"a": {"$in": ["b"]}}),
        (["a=1.5"], {"a": {"$in": ["1.5", 1.5]}}),
        (["a=b=c"], {"a": {"$in": ["b=c"]}}),
        (["a=[1]"], {"a": {"$in": ["[1]"]}}),
        (["a="], {"a": {"$in": [""]}}),
        ([' {"a": 1}'], {"a": 1}),
        (["a=b", '{"c": 1}'], {"$and": [{"a": {"$in": ["b"]}}, {"c": 1}]}),
    ],
)
def test_conditions_are_read_as_json_or_as_a_field_and_its_value(given, condition):
    assert condition_of(given) == condition


def test_an_empty_space_says_how_to_fill_it_and_stays_empty(unibind, here):
    finished = unibind("search", "--text", "a cat")
    assert (finished.code, finished.out) == (1, "")
    assert finished.err == (
        "error: nothing is stored in space mini; add files with "
        "`unibind index add FILE... --space mini`\n"
    )
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (("--text", " "), "the text is empty"),
        (("gone.png",), "gone.png: "),
        (("bird.png", "--modality", "smell"), "no modality 'smell'"),
        (("--text", "a", "--into", "image,smell"), "nothing of modality 'smell' is stored"),
        (("--text", "a", "--where", "licenze=CC0"), "did you mean 'licence'?"),
        (("--text", "a", "--where", '{"width": {"$near": 3}}'), "$near"),
        (("--text", "a", "--space", "nope"), "no space at nope"),
        ((".",), "is a folder"),
    ],
)
def test_what_cannot_be_searched_is_one_clear_line(unibind, stored, arguments, telling):
    finished = unibind("search", *arguments)
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("error: ")
    assert finished.err.count("\n") == 1
    assert telling in finished.err


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        ((), "either a FILE or --text"),
        (("a.png", "--text", "a"), "either a FILE or --text"),
        (("--text", "a", "-k", "0"), "--k"),
        (("--text", "a", "--where", "licence"), "neither name=value nor JSON"),
        (("--text", "a", "--where", '{"a": '), "not JSON"),
        (("--text", "a", "--into", "image,"), "has no name"),
    ],
)
def test_wrong_use_is_exit_code_2(unibind, arguments, telling):
    finished = unibind("search", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert telling in " ".join(finished.err.replace("│", " ").split())
