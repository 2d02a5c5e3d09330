import subprocess
import sys

import numpy as np
import pytest
import torch

from unibind import weights
from unibind.encoders.minilm import MAX_TOKENS
from unibind.errors import InvalidInputError
from unibind.protocols import Encoder
from unibind.testing import check_encoder

SENTENCES = [
    "a cat",
    "A kitten sleeps on the red sofa.",
    "a car",
    "猫",
    "It's 20 °C; the naïve café's façade (built 1902) — well, almost — is green!",
    "antidisestablishmentarianism " * 10,
    "a long story about a dog and its tail " * 100,
]


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def test_it_keeps_the_promises_of_an_encoder(text_tower):
    check_encoder(text_tower, SENTENCES)
    assert isinstance(text_tower, Encoder)
    assert text_tower.dim == 384


def test_features_are_those_of_transformers_and_a_mean_by_hand(text_tower):
    from transformers import AutoModel, AutoTokenizer

    folder = weights.path("minilm-l6")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    for sentence, feature in zip(SENTENCES, text_tower.encode(SENTENCES), strict=True):
        tokens = tokenizer([sentence], truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state
        np.testing.assert_allclose(feature, hidden[0].mean(dim=0).numpy(), atol=1e-4)


def test_a_kitten_is_nearer_to_a_cat_than_a_car_is(text_tower):
    cat, kitten, car = text_tower.encode(["cat", "kitten", "car"])
    assert cosine(cat, kitten) == pytest.approx(0.79, abs=0.02)
    assert cosine(cat, car) == pytest.approx(0.46, abs=0.02)


def test_upper_case_is_read_as_lower_case(text_tower):
    upper, lower = text_tower.encode(["A CAT", "a cat"])
    np.testing.assert_array_equal(upper, lower)


def test_what_stands_beyond_the_last_token_is_ignored(text_tower):
    # Two markers and 254 words of one piece each.
    long = "cat " * (MAX_TOKENS - 2)
    whole, longer, shorter = text_tower.encode([long, long + "dog " * 50, long[4:]])
    np.testing.assert_array_equal(whole, longer)
    assert np.abs(whole - shorter).max() > 1e-5


def test_many_texts_come_back_in_their_order(text_tower):
    sentences = [" ".join(["word"] * (1 + n * 7 % 40)) + f" {n}" for n in range(100)]
    features = text_tower.encode(sentences)
    for row in (0, 33, 99):
        np.testing.assert_allclose(features[row], text_tower.encode([sentences[row]])[0], atol=1e-5)


def test_what_is_no_text_is_refused(text_tower):
    with pytest.raises(InvalidInputError, match="got int"):
        text_tower.encode(["a cat", 7])


def test_a_second_start_imports_neither_torch_nor_transformers(text_tower):
    program = (
        "import sys; from unibind.encoders import minilm; minilm.load().encode(['a cat']); "
        "sys.exit(bool({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
