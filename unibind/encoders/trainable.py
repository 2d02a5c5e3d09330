"""Encoders that were trained end to end in a space: a network's design, and the weights it got."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save

from unibind import artifact
from unibind.encoders.fingerprints import fingerprint_of
from unibind.errors import InvalidInputError, SpaceMismatchError
from unibind.protocols import NetworkDesign
from unibind.types import FloatArray, Json, SpaceId

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Preparing", "TrainableEncoder", "Weights", "encode_prepared"]

Weights = Mapping[str, np.ndarray]
"""A network's parameters and buffers by name, as torch's `state_dict` calls them."""

_KIND = "network-weights"
_FORMAT_VERSION = 1
_FILE = "network.safetensors"
_BATCH = 32


class TrainableEncoder:
    """A network as an encoder: frozen from the moment it has weights, useless before.

    Args:
        design: The network's design.
        weights: What training ended with; None before it.
    """

    def __init__(self, design: NetworkDesign, weights: Weights | None = None) -> None:
        self.design = design
        self.modality = design.modality
        self.dim = design.dim
        self.fingerprint = fingerprint_of(
            design=design.fingerprint, weights=None if weights is None else hash_of(weights)
        )
        self.weights = weights
        self._network = None if weights is None else loaded(design, weights)

    @property
    def is_trained(self) -> bool:
        """Whether it has weights."""
        return self.weights is not None

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the network's features of items, shape (N, F).

        Raises:
            InvalidInputError: It was not trained yet, or an item is not of the modality.
        """
        if self._network is None:
            raise InvalidInputError(
                f"the encoder of {self.modality.name} is a network that was not trained yet; "
                f"train it with `unibind align --modality {self.modality.name} --data FOLDER`"
            )
        if not items:
            return np.zeros((0, self.dim), dtype=np.float32)
        return encode_prepared(self._network, self.design.prepare(items), dim=self.dim)

    def save(self, path: Path, *, space: SpaceId, params: Mapping[str, Json]) -> None:
        """Write the weights as a folder; what was there is replaced.

        Args:
            path: The folder.
            space: Where it was trained to lead.
            params: How it was trained.

        Raises:
            ArtifactError: The place cannot be written.
        """
        assert self.weights is not None, "only a trained encoder is saved"
        with artifact.writing(
            path,
            kind=_KIND,
            format_version=_FORMAT_VERSION,
            space=space,
            params={"design": self.design.fingerprint, "how": dict(params)},
        ) as folder:
            arrays = {name: np.ascontiguousarray(each) for name, each in self.weights.items()}
            (folder / _FILE).write_bytes(save(arrays))

    def opened(self, path: Path) -> "TrainableEncoder":
        """Return the encoder with the weights that lie in a folder, or as it is if there are none.

        Raises:
            ArtifactError: They are damaged.
            SpaceMismatchError: They are of another design.
        """
        if not artifact.exists(path):
            return self
        manifest = artifact.verify(path, kind=_KIND, format_version=_FORMAT_VERSION)
        if manifest.params["design"] != self.design.fingerprint:
            raise SpaceMismatchError(
                f"the weights at {path} are of the design {manifest.params['design'][:12]}, "
                f"installed is {self.design.fingerprint[:12]}; train again with `unibind align`"
            )
        return TrainableEncoder(self.design, load_file(path / _FILE))


class Preparing:
    """What a network takes of items, as if it were features: lets the pipeline read them.

    Args:
        design: The network's design.
    """

    def __init__(self, design: NetworkDesign) -> None:
        self.modality = design.modality
        self.dim = int(np.prod(design.shape))
        self.fingerprint = f"prepared for {design.fingerprint}"
        self._design = design

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return prepared items, each in one row, shape (N, F).

        Raises:
            InvalidInputError: An item is not of the modality.
        """
        if not items:
            return np.zeros((0, self.dim), dtype=np.float32)
        return self._design.prepare(items).reshape(len(items), self.dim)


def encode_prepared(network: "nn.Module", prepared: FloatArray, *, dim: int) -> FloatArray:
    """Return a network's features of prepared items, shape (N, F).

    Args:
        network: In the state to be used in.
        prepared: What the design's `prepare` returned, shape (N, ...).
        dim: F.
    """
    import torch

    network.eval()
    device = next(network.parameters()).device
    features = np.zeros((len(prepared), dim), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(prepared), _BATCH):
            batch = torch.from_numpy(prepared[start : start + _BATCH]).to(device)
            features[start : start + len(batch)] = network(batch).cpu().numpy()
    return features


def loaded(design: NetworkDesign, weights: Weights) -> "nn.Module":
    """Return a design's network with these weights, frozen."""
    import torch

    network = design.network(0)
    network.load_state_dict({name: torch.from_numpy(np.array(x)) for name, x in weights.items()})
    return network.requires_grad_(requires_grad=False).eval()


def hash_of(weights: Weights) -> str:
    """Return the hex SHA-256 of names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
