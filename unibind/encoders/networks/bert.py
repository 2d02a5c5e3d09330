"""BERT as a sentence encoder: token ids to the mean of the last layer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

__all__ = ["Bert", "from_hugging_face"]

_MASKED = -1e4  # added to a logit; exp of it is 0 in float32


class _Layer(nn.Module):
    def __init__(self, width: int, n_heads: int, inner: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attended = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width, eps=1e-12)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        def heads(flat: Tensor) -> Tensor:
            apart = flat.reshape(flat.shape[0], flat.shape[1], self.n_heads, -1)
            return apart.transpose(1, 2)  # (B, nh, T, hs)

        mixed = scaled_dot_product_attention(
            heads(self.query(hidden)), heads(self.key(hidden)), heads(self.value(hidden)), bias
        )
        attended = self.attended(mixed.transpose(1, 2).flatten(2))  # (B, T, width)
        hidden = self.attended_norm(hidden + attended)
        output: Tensor = self.norm(hidden + self.narrow(gelu(self.widen(hidden))))
        return output


class Bert(nn.Module):
    """A BERT whose output is the mean over the tokens of a sentence.

    Args:
        vocabulary: Number of token ids.
        width: Width F of the features.
        inner: Width of the feed-forward layers.
        n_layers: Number of layers.
        n_heads: Attention heads of a layer.
        max_tokens: Longest sentence that has positions.

    Source:
        Devlin et al., 2019 (arXiv:1810.04805); mean pooling of Reimers and Gurevych, 2019
        (arXiv:1908.10084).
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        width: int,
        inner: int,
        n_layers: int,
        n_heads: int,
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(max_tokens, width)
        self.segment = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(_Layer(width, n_heads, inner) for _ in range(n_layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the features, shape (B, F).

        Args:
            ids: Token ids, int64, shape (B, T).
            mask: 1 where a token is, 0 where padding is, shape (B, T).
        """
        position = self.position.weight[: ids.shape[1]]
        hidden = self.norm(self.word(ids) + position + self.segment.weight[0])  # (B, T, F)
        bias = (1.0 - mask)[:, None, None, :] * _MASKED
        for layer in self.layers:
            hidden = layer(hidden, bias)
        weight = mask[:, :, None]
        mean: Tensor = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        return mean


_EMBEDDING_NAMES = {
    "embeddings.word_embeddings": "word",
    "embeddings.position_embeddings": "position",
    "embeddings.token_type_embeddings": "segment",
    "embeddings.LayerNorm": "norm",
}
_LAYER_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm",
}


def from_hugging_face(state: Mapping[str, Tensor], *, n_heads: int) -> Bert:
    """Return the network with the weights of a Hugging Face ``BertModel``.

    Its pooler, which a mean does not use, is left out.

    Args:
        state: Its state dict; the sizes of the network are read from its shapes.
        n_heads: Attention heads of a layer, which no shape tells.

    Raises:
        KeyError: A weight is missing.
    """
    n_layers = 1 + max(int(name.split(".")[2]) for name in state if ".layer." in name)
    names = {f"{theirs}.": f"{ours}." for theirs, ours in _EMBEDDING_NAMES.items()}
    for index in range(n_layers):
        for theirs, ours in _LAYER_NAMES.items():
            names[f"encoder.layer.{index}.{theirs}."] = f"layers.{index}.{ours}."
    vocabulary, width = state["embeddings.word_embeddings.weight"].shape
    # On the meta device nothing is drawn at random only to be overwritten.
    with torch.device("meta"):
        network = Bert(
            vocabulary=vocabulary,
            width=width,
            inner=len(state["encoder.layer.0.intermediate.dense.bias"]),
            n_layers=n_layers,
            n_heads=n_heads,
            max_tokens=len(state["embeddings.position_embeddings.weight"]),
        )
    parts = ("weight", "bias")
    renamed = {
        ours + part: state[theirs + part]
        for theirs, ours in names.items()
        for part in parts
        if theirs + part in state
    }
    network.load_state_dict(renamed, assign=True)
    return network
