import pytest
import torch
from transformers import BertConfig, BertModel

from unibind.encoders.networks.bert import from_hugging_face


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=16,
    )
    return BertModel(config).eval()


def test_it_gives_the_mean_of_what_transformers_gives(theirs):
    ours = from_hugging_face(theirs.state_dict(), n_heads=4).eval()
    ids = torch.randint(0, 50, (5, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [1], [4], [8], [2]])).float()
    with torch.inference_mode():
        hidden = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        features = ours(ids, mask)
    for row, length in enumerate([9, 1, 4, 8, 2]):
        torch.testing.assert_close(
            features[row], hidden[row, :length].mean(dim=0), atol=1e-5, rtol=1e-5
        )


def test_padding_does_not_matter(theirs):
    ours = from_hugging_face(theirs.state_dict(), n_heads=4).eval()
    ids = torch.randint(0, 50, (1, 5))
    padded = torch.cat([ids, torch.zeros(1, 7, dtype=torch.long)], dim=1)
    mask = (torch.arange(12) < 5).float()[None]
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids, torch.ones(1, 5)), ours(padded, mask))


def test_a_missing_weight_is_named(theirs):
    state = theirs.state_dict()
    del state["encoder.layer.1.output.dense.bias"]
    with pytest.raises(RuntimeError, match=r"layers\.1\.narrow\.bias"):
        from_hugging_face(state, n_heads=4)
