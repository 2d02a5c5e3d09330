import numpy as np
import pytest
from PIL import Image

from unibind.alignment.geometry import unit
from unibind.alignment.heads import head_inputs
from unibind.alignment.prior import SemanticPrior
from unibind.datasets import Dataset, LabelledItem
from unibind.errors import InvalidInputError
from unibind.evaluation.baselines import RawPixels
from unibind.evaluation.pictures import Pictures


class Namer(RawPixels):
    """An encoder that calls every picture red, green or blue."""

    labels = ("red", "green", "blue")
    label_texts = (("red",), ("green",), ("blue",))

    def logits(self, features):
        return features.reshape(len(features), -1, 3).mean(axis=1)


def embed_texts(texts):
    return unit(np.array([[len(text), 1.0, 0.0] for text in texts], dtype=np.float32))


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """Two sets of three pictures each; one of each has no caption."""
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    made = []
    for name in ("one", "two"):
        items = []
        for n, caption in enumerate(["  a thing ", f"{name} thing", " "]):
            path = tmp_path / f"{name}{n}.png"
            Image.fromarray(generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
            items.append(LabelledItem(path, caption=caption))
        made.append(Dataset(name, tuple(items)))
    return made


def load(sets) -> Pictures:
    return Pictures.of(
        sets,
        encoder=Namer(),
        prior=SemanticPrior(Namer(), np.eye(3, dtype=np.float32)),
        embed_texts=embed_texts,
        space="a space",
    )


def test_pictures_with_a_caption_are_encoded_once_for_all_protocols(sets):
    pictures = load(sets)
    items = [item for dataset in sets for item in dataset.items[:2]]
    assert pictures.captions == ("a thing", "one thing", "a thing", "two thing")
    assert pictures.sources == ("one", "one", "two", "two")
    assert pictures.paths == tuple(item.path for item in items)
    features = Namer().encode([np.asarray(Image.open(item.path)) for item in items])
    np.testing.assert_array_equal(pictures.pixels, features)
    np.testing.assert_allclose(pictures.inputs, head_inputs(Namer(), features))
    np.testing.assert_array_equal(pictures.texts, embed_texts(pictures.captions))
    assert pictures.prior.shape == (4, 3)
    assert (len(pictures), pictures.space, pictures.encoder) == (
        4, "a space", Namer.fingerprint,
    )  # fmt: skip
    assert pictures.rows_of("two").tolist() == [2, 3]


def test_a_damaged_picture_is_told_with_the_remedy(sets):
    path = sets[1].items[0].path
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InvalidInputError, match=r"1 of 4 .*two0\.png.*unibind data fetch"):
        load(sets)


def test_sets_without_captions_have_nothing_to_evaluate(sets):
    bare = Dataset("bare", sets[0].items[2:])
    with pytest.raises(InvalidInputError, match="no picture of the sets has a caption"):
        load([bare])
