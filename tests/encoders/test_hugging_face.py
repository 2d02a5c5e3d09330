import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from loopback import CLOSED, hub, serving
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)

from unibind import weights
from unibind.encoders.hugging_face import AlignedHubImage, HubText, load_image, load_text
from unibind.encoders.registry import open_encoder
from unibind.errors import FetchError, InvalidInputError
from unibind.protocols import AlignedEncoder, Encoder
from unibind.testing import check_encoder

WORDS = ["a", "the", "cat", "dog", "sleeps", "runs", "on", "red", "sofa", "in", "garden"]
SENTENCES = ["a cat", "the dog runs in the garden", "the red cat sleeps on a sofa " * 20]
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def save_tokenizer(folder, **options):
    vocabulary = {
        word: index for index, word in enumerate(["[PAD]", "[UNK]", "[S]", "[E]", *WORDS])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[S] $A [E]", special_tokens=[("[S]", 2), ("[E]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[S]",
        eos_token="[E]",
        **options,
    ).save_pretrained(folder)


def save_processor(folder, kind):
    processor = {
        "image_processor_type": kind,
        "size": {"height": 16, "width": 16},
        "do_center_crop": False,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


@pytest.fixture
def bert(tmp_path):
    config = BertConfig(vocab_size=20, max_position_embeddings=32, **SMALL)
    BertModel(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    return tmp_path


@pytest.fixture
def clip(tmp_path):
    tower = SMALL | {"projection_dim": 8}
    config = CLIPConfig(
        text_config=tower
        | {"vocab_size": 20, "max_position_embeddings": 32, "eos_token_id": 3, "bos_token_id": 2},
        vision_config=tower | {"image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    save_processor(tmp_path, "CLIPImageProcessor")
    return tmp_path


def pictures():
    generator = np.random.default_rng(0)
    sizes = [(20, 30), (16, 16), (40, 9)]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def pool_by(folder, config):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))


def hidden_of(folder, ids):
    with torch.inference_mode():
        return BertModel.from_pretrained(folder).eval()(torch.tensor([ids])).last_hidden_state[0]


def test_a_text_tower_keeps_the_promises_of_an_encoder(bert):
    tower = load_text(str(bert))
    check_encoder(tower, SENTENCES)
    assert isinstance(tower, Encoder)
    assert not isinstance(tower, AlignedEncoder)


@pytest.mark.parametrize(
    ("config", "pool"),
    [
        (None, lambda hidden: hidden.mean(dim=0)),
        ({"pooling_mode_mean_tokens": True}, lambda hidden: hidden.mean(dim=0)),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, lambda h: h[0]),
        ({"pooling_mode": "cls"}, lambda hidden: hidden[0]),
        ({"pooling_mode_lasttoken": True}, lambda hidden: hidden[-1]),
    ],
)
def test_texts_are_pooled_as_the_folder_says(bert, config, pool):
    if config is not None:
        pool_by(bert, config)
    # Beside a longer text, so that padding would show.
    feature = HubText(str(bert)).encode(["a cat", SENTENCES[1]])[0]
    expected = pool(hidden_of(bert, [2, 4, 6, 3]))
    np.testing.assert_allclose(feature, expected.numpy(), atol=1e-5)


def test_an_unknown_pooling_is_refused(bert):
    pool_by(bert, {"pooling_mode_max_tokens": True})
    with pytest.raises(InvalidInputError, match=r"pools by max; one of mean, cls, lasttoken"):
        HubText(str(bert))


def test_a_step_that_is_not_known_is_refused(bert):
    step = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}
    (bert / "modules.json").write_text(json.dumps([step]))
    with pytest.raises(InvalidInputError, match=r"models\.Dense, which is not known here"):
        HubText(str(bert))


def test_a_text_is_cut_where_the_folder_says(bert):
    (bert / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    one, other = HubText(str(bert)).encode(["a cat", "a cat sleeps"])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_minilm_from_its_folder_is_our_minilm(text_tower):
    sentences = ["a cat", "A kitten sleeps on the red sofa. " * 60, "猫"]
    theirs = HubText(str(weights.path("minilm-l6"))).encode(sentences)
    np.testing.assert_allclose(theirs, text_tower.encode(sentences), atol=1e-4)


def test_a_pair_shares_a_space(clip):
    words, sight = load_text(str(clip)), load_image(str(clip))
    assert isinstance(sight, AlignedHubImage)
    assert isinstance(sight, AlignedEncoder)
    assert sight.space == words.fingerprint != sight.fingerprint
    assert words.dim == sight.dim == 8
    check_encoder(words, SENTENCES)
    check_encoder(sight, pictures())


def test_a_pairs_features_are_its_projections(clip):
    network = CLIPModel.from_pretrained(clip).eval()
    item = pictures()[0]
    small = np.asarray(Image.fromarray(item).resize((16, 16), Image.Resampling.BICUBIC)) / 255
    pixels = torch.tensor((small - 0.5) / 0.25, dtype=torch.float32).permute(2, 0, 1)[None]
    ids = torch.tensor([[2, 4, 6, 3]])
    with torch.inference_mode():
        sight = network.visual_projection(network.vision_model(pixels).pooler_output)
        words = network.text_projection(network.text_model(ids).pooler_output)
    # The library resizes at another precision.
    np.testing.assert_allclose(load_image(str(clip)).encode([item]), sight.numpy(), atol=0.02)
    np.testing.assert_allclose(load_text(str(clip)).encode(["a cat"]), words.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "network",
    [
        lambda: ViTModel(ViTConfig(image_size=16, patch_size=8, **SMALL)),
        lambda: ViTModel(ViTConfig(image_size=16, patch_size=8, **SMALL), add_pooling_layer=False),
        lambda: Dinov2Model(
            Dinov2Config(image_size=16, patch_size=8, **{**SMALL, "intermediate_size": 64})
        ),
    ],
)
def test_an_image_tower_alone_has_no_space(tmp_path, network):
    network().save_pretrained(tmp_path)
    save_processor(tmp_path, "ViTImageProcessor")
    tower = load_image(str(tmp_path))
    check_encoder(tower, pictures())
    assert tower.dim == 16
    assert not isinstance(tower, AlignedEncoder)


def test_items_of_another_kind_are_refused(clip):
    with pytest.raises(InvalidInputError, match="only spaces"):
        load_text(str(clip)).encode(["a cat", " "])
    with pytest.raises(InvalidInputError, match="int64"):
        load_image(str(clip)).encode([np.zeros((4, 4, 3), np.int64)])


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(bert, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(bert, elsewhere)
    fingerprint = HubText(str(bert)).fingerprint
    assert HubText(str(elsewhere)).fingerprint == fingerprint
    pool_by(elsewhere, {"pooling_mode": "cls"})
    assert HubText(str(elsewhere)).fingerprint != fingerprint


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(FetchError, match=r"has no config\.json"):
        load_image(str(tmp_path))


def test_pickled_weights_are_never_read(bert):
    (bert / "model.safetensors").unlink()
    torch.save({}, bert / "pytorch_model.bin")
    with pytest.raises(FetchError, match=r"does not load .*safetensors"):
        HubText(str(bert))


def test_a_models_own_code_is_never_run(bert):
    (bert / "model.safetensors").unlink()
    (bert / "evil.py").write_text("raise SystemExit('it ran')")
    config = {"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.C"}}
    (bert / "config.json").write_text(json.dumps(config))
    with pytest.raises(FetchError, match="does not load"):
        HubText(str(bert))


def in_a_fresh_process(program, **settings):
    # The hub's library reads its settings once, when it is imported.
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_comes_from_the_hub_once_and_then_from_its_cache(bert, tmp_path_factory):
    revision = "0123456789abcdef0123456789abcdef01234567"
    files = {file.name: file.read_bytes() for file in bert.iterdir()}
    site = hub("someone/small", revision, files)
    listing = {
        "id": "someone/small",
        "sha": revision,
        "siblings": [{"rfilename": f} for f in files],
    }
    for page in (f"/api/models/someone/small/revision/{revision}", "/api/models/someone/small"):
        site.pages[page] = json.dumps(listing).encode()
        site.headers[page] = {"Content-Type": "application/json"}
    tree = [{"type": "file", "path": name, "size": len(f), "oid": "0"} for name, f in files.items()]
    page = f"/api/models/someone/small/tree/{revision}?recursive=true&expand=false"
    site.pages[page] = json.dumps(tree).encode()
    site.headers[page] = {"Content-Type": "application/json"}
    bring = (
        "from unibind.weights.hub import download_folder\n"
        f"download_folder('someone/small', '{revision}', ['*.json', '*.safetensors'])"
    )
    use = (
        "from unibind.encoders.registry import open_encoder\n"
        f"print(open_encoder('hub-text:someone/small@{revision}').fingerprint)"
    )
    home = str(tmp_path_factory.mktemp("home"))
    with serving(site):
        first = in_a_fresh_process(bring, HF_ENDPOINT=site.url, HF_HOME=home)
    assert first.returncode == 0, first.stderr
    second = in_a_fresh_process(use, HF_HOME=home, HF_HUB_OFFLINE="1")
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == HubText(str(bert)).fingerprint


def test_without_the_hub_the_error_says_so(tmp_path):
    program = (
        "from unibind.weights.hub import download_folder\n"
        "download_folder('someone/missing', None, ['*.json'])"
    )
    done = in_a_fresh_process(
        program, HF_ENDPOINT=CLOSED, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1"
    )
    assert "FetchError: cannot bring someone/missing from the Hugging Face hub" in done.stderr


def test_the_towers_have_names(bert, clip):
    assert open_encoder(f"hub-text:{bert}").modality.name == "text"
    assert open_encoder(f"hub-image:{clip}").modality.name == "image"
