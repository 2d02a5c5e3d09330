import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import unibind
from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.heads import Head
from unibind.alignment.prior import SemanticPrior
from unibind.alignment.targets import Targets
from unibind.encoders.registry import open_encoder
from unibind.engine import RECIPES, Engine, Recipe
from unibind.errors import ArtifactError, InvalidInputError, PluginError, SpaceMismatchError
from unibind.knowledge.base import open_base
from unibind.testing import FakeEncoder
from unibind.types import Modality, Prediction, SpaceId

CLASSES = ["banana", "strawberry", "tiger", "guitar", "frog"]
CAPTIONS = [
    "A banana.",
    "A strawberry.",
    "A Sumatran tiger.",
    "A classical guitar.",
    "A frog.",
]


@pytest.fixture(scope="module", autouse=True)
def towers():
    """Load the towers of mini once for all engines of this module."""
    for name in (model.name for model in weights.MODELS.values() if model.in_mini):
        weights.fetch(name)
    loaded = {name: open_encoder(name) for name in ("minilm-l6", "efficientnet-lite0")}
    with pytest.MonkeyPatch.context() as patch:
        for module in (unibind.engine.engine, unibind.engine.senses):
            patch.setattr(
                module, "open_encoder", lambda name: loaded.get(name) or open_encoder(name)
            )
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mini"


@pytest.fixture
def engine(root):
    with unibind.open(root) as opened:
        yield opened


@pytest.fixture(scope="session")
def stamp_of(stamps) -> dict[str, Path]:
    return {item.caption: item.path for item in stamps.items}


@pytest.fixture
def photos(stamp_of) -> list[Path]:
    """Return five pictures, of CLASSES in their order."""
    return [stamp_of[caption] for caption in CAPTIONS]


def draw(shape: str, colour: str, size: int = 96) -> np.ndarray:
    picture = Image.new("RGB", (size, size), "white")
    getattr(ImageDraw.Draw(picture), shape)((20, 30, 70, 60), fill=colour)
    return np.asarray(picture)


DRAWN = [
    draw(shape, colour)
    for shape in ("ellipse", "rectangle")
    for colour in ("red", "green", "blue", "black")
]
DRAWN_LABELS = ["a ball"] * 4 + ["a box"] * 4


def labels_of(answers: list[list[Prediction]]) -> list[str]:
    return [answer[0].label for answer in answers]


# Opening.


def test_mini_opens_by_name_from_any_folder_and_writes_nothing_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unibind.open("mini") as engine:
        assert engine.modalities == ("text", *sorted(RECIPES["mini"].encoders))
        engine.classify("image", DRAWN[:1], classes=["a ball", "a box"])
        assert engine.head("image") is None
        assert engine.count() == 0
        assert engine.root == Path("indexes/mini")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_space_opens_by_path_and_by_name(tmp_path, monkeypatch, engine):
    engine.space.save(tmp_path / "indexes" / "own" / "space")
    monkeypatch.chdir(tmp_path)
    for name in ("own", "indexes/own", tmp_path / "indexes" / "own"):
        with unibind.open(name) as opened:
            assert opened.space.id == engine.space.id
            np.testing.assert_array_equal(opened.embed("text", ["x"]), engine.embed("text", ["x"]))


@pytest.mark.parametrize("name", ["nowhere", "/no/such/place", "", "a\0b"])
def test_an_unknown_space_is_refused_with_what_can_be_opened(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        unibind.open(name)
    assert "no space at" in str(caught.value)
    assert "unibind quickstart" in str(caught.value)
    assert "mini" in str(caught.value)


def test_a_space_can_be_begun_under_a_name_of_its_own(tmp_path):
    with unibind.open(tmp_path / "own", recipe="mini") as engine:
        assert engine.root == tmp_path / "own"
        engine.save()
    with unibind.open(tmp_path / "own") as engine:
        assert engine.modalities == ("text", *sorted(RECIPES["mini"].encoders))


def test_a_damaged_space_is_refused_with_a_remedy(engine, root):
    engine.save()
    file = root / "space" / "origin.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match=r"hash differs.*make it again"):
        unibind.open(root)


def test_every_recipe_names_parts_that_are_installed():
    for recipe in RECIPES.values():
        installed = unibind.plugins.names("unibind.encoders")
        assert {recipe.text_encoder, *recipe.encoders.values()} <= set(installed)


# Embedding.


def test_embeddings_have_unit_length_whatever_the_form_of_an_item(engine, tmp_path):
    path = tmp_path / "ball.png"
    Image.fromarray(DRAWN[0]).save(path)
    embeddings = engine.embed("image", [path, str(path), path.read_bytes(), DRAWN[0]])
    assert embeddings.shape == (4, 384)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embeddings, embeddings[[0, 0, 0, 0]], atol=1e-5)
    words = engine.embed("text", ["a ball", "une balle", "🏀"])
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)


def test_a_picture_lies_near_its_word(engine, photos):
    scores = engine.embed("image", photos) @ engine.embed("text", CLASSES).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    assert np.diag(scores).min() > scores[~np.eye(5, dtype=bool)].max()


def test_unrelated_words_are_about_orthogonal(engine):
    words = engine.embed("text", ["a spoon", "democracy", "a giraffe", "to whisper", "turquoise"])
    others = (words @ words.T)[~np.eye(5, dtype=bool)]
    assert abs(others.mean()) < 0.1


def test_an_embedding_does_not_depend_on_its_batch(engine):
    together = engine.embed("image", DRAWN)
    for row in (0, 5):
        np.testing.assert_allclose(engine.embed("image", [DRAWN[row]])[0], together[row], atol=1e-4)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_no_items_have_no_embeddings_and_no_answers(engine, modality):
    assert engine.embed(modality, []).shape == (0, 384)
    assert engine.classify(modality, [], classes=["a ball", "a box"]) == []
    assert engine.search(modality, []) == []


@pytest.mark.parametrize("item", ["ball.png", b"\x89PNG", Path("ball.png")])
def test_one_item_where_a_list_was_needed_is_refused(engine, item):
    with pytest.raises(InvalidInputError, match=r"one item was given .*; write \[item\]"):
        engine.embed("image", item)


def test_an_unknown_modality_is_refused_with_those_there_are(engine):
    for ask in (
        lambda: engine.embed("smell", [b""]),
        lambda: engine.classify("smell", [b""], classes=["a"]),
        lambda: engine.search("smell", [b""]),
        lambda: engine.add("smell", [b""], keys=["a"]),
    ):
        with pytest.raises(InvalidInputError, match="no modality 'smell'; it has audio, "):
            ask()
    assert not (engine.root / "store").exists()


def test_bad_items_are_listed_and_embed_each_goes_on_without_them(engine, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    items = [DRAWN[0], tmp_path / "torn.png", DRAWN[1], tmp_path / "nowhere.png"]
    with pytest.raises(InvalidInputError) as caught:
        engine.embed("image", items)
    said = str(caught.value)
    assert "2 of 4 items cannot be used" in said
    assert "torn.png" in said
    assert "nowhere.png" in said
    each = engine.embed_each("image", items)
    assert each.rows.tolist() == [0, 2]
    assert [failure.row for failure in each.failures] == [1, 3]
    np.testing.assert_allclose(
        each.embeddings, engine.embed("image", [DRAWN[0], DRAWN[1]]), atol=1e-5
    )


def test_of_many_bad_items_three_are_shown_in_one_line(engine):
    with pytest.raises(InvalidInputError) as caught:
        engine.embed("text", ["", "\n", "word " * 100_000, "\t", "  "])
    said = str(caught.value)
    assert said.startswith("5 of 5 items cannot be used: '': the text is empty")
    assert said.endswith("; and 2 more")
    assert "\n" not in said
    assert len(said) < 700


def test_progress_is_told_to_the_end(engine):
    told = []
    engine.embed_each("image", DRAWN, progress=lambda *step: told.append(step))
    assert told[-1] == (8, 8)


# Classifying.


def test_pictures_are_classified_among_any_classes(engine, photos):
    answers = engine.classify("image", photos, classes=CLASSES)
    assert labels_of(answers) == CLASSES
    for answer in answers:
        assert sorted(each.label for each in answer) == sorted(CLASSES)
        assert sum(each.probability for each in answer) == pytest.approx(1, abs=1e-5)
        assert answer[0].probability > 0.5


def test_only_the_top_classes_are_listed_if_asked(engine, photos):
    whole = engine.classify("image", photos, classes=CLASSES)
    assert engine.classify("image", photos, classes=CLASSES, top=2) == [a[:2] for a in whole]


def test_the_wording_and_the_order_of_the_classes_matter_little(engine, photos):
    turned = [f"a picture of a {name}" for name in reversed(CLASSES)]
    answers = engine.classify("image", photos, classes=turned)
    assert labels_of(answers) == turned[::-1]


def test_texts_are_classified_too(engine):
    answers = engine.classify("text", ["it purrs and chases mice"], classes=["a cat", "a lorry"])
    assert labels_of(answers) == ["a cat"]


def test_a_class_alone_is_certain(engine):
    (((only),),) = engine.classify("image", DRAWN[:1], classes=["a ball"])
    assert (only.label, only.probability) == ("a ball", 1.0)


def test_a_knowledge_base_names_the_classes(engine, photos):
    (answer,) = engine.classify("image", [photos[2]], knowledge="everyday")
    base = open_base("everyday")
    assert {each.label for each in answer} == set(base.classes)
    assert "tiger" in [each.label for each in answer[:5]]
    chosen = ["tiger", "banana", "guitar"]
    answers = engine.classify("image", photos[:3:2], classes=chosen, knowledge=base)
    assert labels_of(answers) == ["banana", "tiger"]


def test_a_class_that_the_base_has_not_is_refused(engine):
    with pytest.raises(InvalidInputError, match="has no class 'flying saucer'"):
        engine.classify("image", DRAWN, classes=["flying saucer"], knowledge="everyday")


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (None, "nothing to choose from"),
        ([], "the list of classes is empty"),
        (["a", ""], "class 2 of 2 has no name"),
        (["a", "a"], "'a' is in the list twice"),
        ("a cat", "one class was given where a list was needed"),
    ],
)
def test_classes_that_make_no_sense_are_refused(engine, classes, said):
    with pytest.raises(InvalidInputError, match=said):
        engine.classify("image", DRAWN, classes=classes)


def test_centers_of_another_space_are_refused(engine):
    centers = engine.centers(classes=["a", "b"])
    other = type(centers)(centers.labels, centers.vectors, SpaceId("elsewhere"))
    with pytest.raises(SpaceMismatchError, match="these centers in elsewhere"):
        engine.decide("image", engine.embed("image", DRAWN), other)


# Storing and finding.


def test_what_was_added_is_found_after_reopening(engine, root, photos):
    metadata = [{"licence": "CC0", "n": n} for n in range(5)]
    engine.add("image", photos, keys=CLASSES, metadata=metadata)
    engine.add("text", ["the king of the jungle"], keys=["a saying"])
    assert (engine.count(), engine.count("image"), engine.count("text")) == (6, 5, 1)
    engine.save()
    engine.close()
    with unibind.open(root) as again:
        assert again.count() == 6
        for row, hits in enumerate(again.search("image", photos, into=["image"], k=2)):
            assert hits[0].key == CLASSES[row]
            assert hits[0].modality == "image"
            assert hits[0].metadata == metadata[row]
            assert len(hits) == 2
        (hits,) = again.search("text", ["a striped big cat"], into=["image"], k=1)
        assert hits[0].key == "tiger"
        (hits,) = again.search("image", [photos[2]], into=["text"])
        assert [hit.key for hit in hits] == ["a saying"]
        (hits,) = again.search("text", ["fruit"], where={"n": 1})
        assert [hit.key for hit in hits] == ["strawberry"]


def test_what_was_added_outlives_a_process_that_dies(root):
    code = """
import os, sys, numpy, unibind
engine = unibind.open(sys.argv[1])
engine.add("text", ["a purring cat", "a lorry"], keys=["cat", "lorry"])
os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-c", code, root])
    assert died.returncode == -9
    with unibind.open(root) as engine:
        assert engine.count() == 2
        assert engine.search("text", ["a kitten"], k=1)[0][0].key == "cat"


def test_a_key_that_is_there_is_replaced(engine):
    engine.add("text", ["a cat"], keys=["k"], metadata=[{"n": 1}])
    engine.add("text", ["a lorry"], keys=["k"], metadata=[{"n": 2}])
    assert engine.count() == 1
    (hits,) = engine.search("text", ["a truck"])
    assert [(hit.key, hit.metadata["n"]) for hit in hits] == [("k", 2)]


def test_all_items_are_stored_or_none(engine, tmp_path):
    engine.add("image", DRAWN[:1], keys=["first"])
    with pytest.raises(InvalidInputError, match=r"nowhere\.png"):
        engine.add("image", [DRAWN[1], tmp_path / "nowhere.png"], keys=["a", "b"])
    assert engine.count() == 1


def test_keys_and_items_must_be_equally_many(engine):
    with pytest.raises(InvalidInputError, match="2 items with 1 keys; one each is needed"):
        engine.add("image", DRAWN[:2], keys=["a"])
    with pytest.raises(InvalidInputError):
        engine.add("image", DRAWN[:2], keys=["a", "a"])
    with pytest.raises(InvalidInputError):
        engine.add("image", DRAWN[:2], keys=["a", "b"], metadata=[{}])
    assert engine.count() == 0


def test_searches_that_make_no_sense_are_refused(engine):
    engine.add("text", ["a cat"], keys=["k"])
    with pytest.raises(InvalidInputError, match="k is 0"):
        engine.search("text", ["a cat"], k=0)
    with pytest.raises(InvalidInputError, match="pass a list of names"):
        engine.search("text", ["a cat"], into="text")


def test_threads_may_share_an_engine(root):
    with unibind.open(root) as engine, ThreadPoolExecutor(8) as pool:
        embedded = list(pool.map(lambda n: engine.embed("text", [f"text {n}"]), range(16)))
        counts = list(pool.map(lambda n: len(engine.search("text", [f"text {n}"])), range(16)))
        alone = engine.embed("text", [f"text {n}" for n in range(16)])
    np.testing.assert_allclose(np.concatenate(embedded), alone, atol=1e-5)
    assert counts == [1] * 16


def test_a_closed_engine_can_be_used_again(engine):
    engine.add("text", ["a cat"], keys=["k"])
    engine.close()
    engine.close()
    assert engine.count() == 1
    assert engine.embed("text", ["a cat"]).shape == (1, 384)


# Aligning.


def align(engine: Engine, **kwargs) -> Head:
    targets = Targets.from_labels(DRAWN_LABELS, engine.centers(classes=["a ball", "a box"]))
    return engine.align("image", DRAWN, targets, **kwargs)


def test_a_head_learns_is_kept_and_is_used(engine, root):
    unseen = [draw("ellipse", "orange"), draw("rectangle", "purple")]
    untrained = engine.embed("image", unseen)
    head = align(engine, aligner=Aligner(strength=0.3))
    assert head.params["strength"] == 0.3
    assert head.space == engine.space.id
    assert head.encoder == engine.encoder("image").fingerprint
    assert head.seen == ("a ball", "a box")
    assert not np.allclose(engine.embed("image", unseen), untrained)
    answers = engine.classify("image", unseen, classes=["a ball", "a box"])
    assert labels_of(answers) == ["a ball", "a box"]
    with unibind.open(root) as again:
        np.testing.assert_array_equal(again.embed("image", unseen), engine.embed("image", unseen))
        assert again.classify("image", unseen, classes=["a ball", "a box"]) == answers


def test_features_at_hand_train_the_same_head(engine):
    head = align(engine)
    targets = Targets.from_labels(DRAWN_LABELS, engine.centers(classes=["a ball", "a box"]))
    again = engine.fit("image", engine.encode("image", DRAWN).features, targets)
    np.testing.assert_array_equal(again.weight, head.weight)


def test_classify_takes_hubs_off_and_penalises_what_was_seen(engine):
    head = align(engine)
    classes = ["a ball", "a lorry"]
    centers = engine.centers(classes=classes)
    (embedding,) = engine.embed("image", DRAWN[:1])
    points, nearest = centers.points(), []
    for point in points:
        scores = sorted((float(each @ point) for each in head.references), reverse=True)
        nearest.append(np.mean(scores[:10]))
    expected = [
        float(embedding @ point) - near / 2 for point, near in zip(points, nearest, strict=True)
    ]
    expected[0] -= head.seen_penalty
    (answer,) = engine.classify("image", DRAWN[:1], classes=classes)
    found = {each.label: each.score for each in answer}
    assert [found[name] for name in classes] == pytest.approx(expected, abs=1e-4)


def test_a_damaged_head_is_refused_with_a_remedy(engine, root):
    align(engine)
    file = root / "heads" / "image" / "head.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with unibind.open(root) as again:
        with pytest.raises(ArtifactError, match=r"hash differs.*make it again"):
            again.embed("image", DRAWN)
        assert again.embed("text", ["still works"]).shape == (1, 384)


@pytest.mark.parametrize("alien", [{"space": SpaceId("elsewhere")}, {"encoder": "another eye"}])
def test_a_head_that_does_not_belong_here_is_refused_with_a_remedy(engine, root, alien):
    replace(align(engine), **alien).save(root / "heads" / "image")
    with unibind.open(root) as again:
        with pytest.raises(SpaceMismatchError) as caught:
            again.classify("image", DRAWN, classes=["a", "b"])
        assert next(iter(alien.values())) in str(caught.value)
        assert "train it again with `unibind align`" in str(caught.value)


def test_what_cannot_be_aligned_leaves_no_head(engine, root, tmp_path):
    one = Targets.from_labels(["a ball"] * 8, engine.centers(classes=["a ball", "a box"]))
    with pytest.raises(InvalidInputError, match="all items belong to 'a ball'"):
        engine.align("image", DRAWN, one)
    with pytest.raises(InvalidInputError, match="7 items with 8 targets"):
        engine.align("image", DRAWN[:7], one)
    with pytest.raises(InvalidInputError, match=r"nowhere\.png"):
        engine.align("image", [tmp_path / "nowhere.png"], one)
    with pytest.raises(InvalidInputError, match="text is the space itself"):
        engine.align("text", ["a"] * 8, one)
    assert not root.exists()
    assert engine.head("image") is None


def test_a_head_that_cannot_be_written_is_not_used(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with unibind.open(tmp_path / "file" / "mini") as engine:
        with pytest.raises(ArtifactError, match="cannot write"):
            align(engine)
        assert engine.head("image") is None


# Other towers.


def test_the_prior_places_the_names_that_the_classifier_knows(engine):
    prior = engine.prior("image")
    assert isinstance(prior, SemanticPrior)
    assert engine.prior("text") is None
    names = [texts[0] for texts in prior.encoder.label_texts[:3]]
    scores = prior.vectors[:3] @ engine.embed("text", names).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_another_text_tower_than_the_space_was_made_with_is_refused(engine, root):
    replace(engine.space, tower="0123456789abcdef").save(root / "space")
    with unibind.open(root) as again, pytest.raises(SpaceMismatchError) as caught:
        again.embed("text", ["a cat"])
    assert "made with the text tower 0123456789ab" in str(caught.value)
    assert "build the space again" in str(caught.value)


def test_an_encoder_that_is_not_installed_is_named(engine):
    with pytest.raises(PluginError, match="no encoder is called 'sharp-eye'"):
        engine.with_encoder("image", "sharp-eye")
    engine.space.encoders["image"] = "sharp-eye"
    with pytest.raises(PluginError, match="no encoder is called 'sharp-eye'"):
        engine.embed("image", DRAWN)


def test_an_encoder_of_another_modality_and_another_text_tower_are_refused(engine):
    with pytest.raises(InvalidInputError, match="'minilm-l6' reads text, not image"):
        engine.with_encoder("image", "minilm-l6")
    with pytest.raises(InvalidInputError, match="another text tower is another space"):
        engine.with_encoder("text", "minilm-l6")


class Ear(FakeEncoder):
    """An encoder of another modality, of text for simplicity."""

    def __init__(self) -> None:
        super().__init__(384)
        self.modality = Modality("sound", "a str", bytes.decode, str, (".snd",), True)


@pytest.fixture
def with_ear(engine, monkeypatch):
    """Return the engine with one more modality, through a stranger's plug-in."""
    from unibind.encoders import registry

    real = registry.load
    monkeypatch.setattr(registry, "load", lambda *a: Ear if a[1] == "ear" else real(*a))
    return engine.with_encoder("sound", "ear")


def test_a_modality_without_head_and_names_says_what_to_do(with_ear):
    assert with_ear.modalities == ("text", *sorted([*RECIPES["mini"].encoders, "sound"]))
    with pytest.raises(InvalidInputError, match=r"has no head yet.*unibind align --modality sound"):
        with_ear.embed("sound", ["woof"])


def test_one_more_modality_is_aligned_and_searched_beside_the_others(with_ear, root):
    sounds = [f"{word} {n}" for word in ("woof", "vroom") for n in range(4)]
    targets = Targets.from_labels(
        ["a dog"] * 4 + ["a car"] * 4, with_ear.centers(classes=["a dog", "a car"])
    )
    with_ear.align("sound", sounds, targets)
    with_ear.add("sound", sounds, keys=sounds)
    (hits,) = with_ear.search("text", ["a dog"], into=["sound"], k=4)
    assert {hit.key.split()[0] for hit in hits} == {"woof"}
    with_ear.close()
    with unibind.open(root) as again:
        assert again.modalities == ("text", *sorted([*RECIPES["mini"].encoders, "sound"]))
        assert again.count("sound") == 8


def test_a_tower_trained_together_with_the_text_tower_needs_no_head(with_ear):
    ear = with_ear.encoder("sound")
    ear.space = with_ear.space.tower
    expected = with_ear.space.place(ear.encode(["woof"]))
    np.testing.assert_allclose(with_ear.embed("sound", ["woof"]), expected, atol=1e-6)
    ear.space = SpaceId("another tower")
    with pytest.raises(InvalidInputError, match="has no head yet"):
        with_ear.embed("sound", ["woof"])


def test_a_recipe_of_ones_own_makes_a_space(tmp_path):
    engine = Engine.from_recipe(Recipe("minilm-l6", {}), tmp_path / "words")
    assert engine.modalities == ("text",)
    assert labels_of(engine.classify("text", ["a kitten"], classes=["cat", "car"])) == ["cat"]
    engine.save()
    manifest = json.loads((tmp_path / "words" / "space" / "manifest.json").read_text())
    assert manifest["params"]["encoders"] == {}
    assert [each.name for each in (tmp_path / "words").iterdir()] == ["space"]
