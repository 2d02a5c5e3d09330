"""Run where the extra ``clip`` is installed; on a small model with random weights, made here."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

if not find_spec("open_clip"):
    pytest.skip("open_clip is not installed (extra clip)", allow_module_level=True)

from unibind.encoders import open_clip as ours
from unibind.encoders.registry import open_encoder
from unibind.errors import FetchError, InvalidInputError
from unibind.protocols import AlignedEncoder
from unibind.testing import check_encoder

SENTENCES = ["a cat", "a dog runs in the garden", "a long story " * 80]


def pictures():
    generator = np.random.default_rng(0)
    sizes = [(20, 30), (32, 32), (40, 9)]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    library = ours._import_open_clip()
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    model = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic"}
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "configs").mkdir()
    (folder / "configs" / "small.json").write_text(json.dumps(model))
    library.add_model_config(folder / "configs")
    torch.manual_seed(0)
    network = library.create_model("small", pretrained=None)
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def name(folder):
    return f"local-dir:{folder}"


def test_the_towers_keep_the_promises_of_an_encoder(name):
    check_encoder(ours.load_text(name), SENTENCES)
    check_encoder(ours.load_image(name), pictures())


def test_the_towers_share_a_space(name):
    words, sight = open_encoder(f"clip-text:{name}"), open_encoder(f"clip-image:{name}")
    assert isinstance(sight, AlignedEncoder)
    assert sight.space == words.fingerprint != sight.fingerprint
    assert words.dim == sight.dim == 12


def test_features_are_what_open_clip_gives(name):
    library = ours._import_open_clip()
    network, preprocess = library.create_model_from_pretrained(name)
    from PIL import Image

    pixels = preprocess(Image.fromarray(pictures()[0]))[None]
    with torch.inference_mode():
        sight = network.eval().encode_image(pixels).numpy()
        words = network.encode_text(library.get_tokenizer(name)(SENTENCES)).numpy()
    np.testing.assert_allclose(ours.load_image(name).encode(pictures()[:1]), sight, atol=1e-6)
    np.testing.assert_allclose(ours.load_text(name).encode(SENTENCES), words, atol=1e-5)


def test_items_of_another_kind_are_refused(name):
    with pytest.raises(InvalidInputError, match="only spaces"):
        ours.load_text(name).encode(["a cat", " "])
    with pytest.raises(InvalidInputError, match="int64"):
        ours.load_image(name).encode([np.zeros((4, 4, 3), np.int64)])


def test_a_checkpoint_of_ones_own_is_named_after_its_architecture(name, folder):
    own = ours.load_text(f"small/{folder}/open_clip_model.safetensors")
    np.testing.assert_allclose(
        own.encode(SENTENCES), ours.load_text(name).encode(SENTENCES), atol=1e-6
    )


@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-B-32/", "/laion2b"])
def test_a_name_without_weights_is_refused(model):
    with pytest.raises(InvalidInputError, match="names no weights; write ARCHITECTURE/WEIGHTS"):
        ours.load_text(model)


@pytest.mark.parametrize("model", ["no-such-net/openai", "ViT-B-32/no-such-weights"])
def test_an_unknown_model_is_refused(model):
    with pytest.raises(FetchError, match=r"does not load .*list_pretrained"):
        ours.load_image(model)


def test_transformers_can_be_used_beside_it():
    from transformers import BertModel

    assert BertModel.__name__ == "BertModel"
