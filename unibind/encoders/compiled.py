"""Networks as functions on arrays: run by ONNX Runtime, or by torch where that is not possible.

ONNX Runtime runs our small towers faster than torch on a CPU and starts without importing it. A
network is exported once, into the cache; an export that is damaged, or of another torch, is made
again.

Each run of a network takes one thread; several small batches run side by side. That is as fast as
several threads in one batch or faster, bears other work on the same cores, and gives the same
features whatever the number of threads.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

# ONNX Runtime reports its use to its maker unless it is told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from unibind import artifact
from unibind.encoders.fingerprints import fingerprint_of
from unibind.errors import ArtifactError
from unibind.sources import cache_dir
from unibind.types import FloatArray

if TYPE_CHECKING:  # a warm start runs without torch, whose import takes seconds
    from torch import nn

__all__ = [
    "Forward",
    "Input",
    "batch_by_batch",
    "compile_network",
    "n_threads",
    "side_by_side",
]

_T = TypeVar("_T")

Forward = Callable[..., FloatArray]
"""A network: arrays in the order of its inputs to its features."""

_FORMAT_VERSION = 1
_OPSET = 17
_FILE = "network.onnx"
_OUTPUT = "output"
_log = logging.getLogger(__name__)

# ONNX Runtime's errors have no common root of their own.
_CANNOT_RUN = (
    ort_errors.Fail,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


@dataclass(frozen=True, slots=True)
class Input:
    """One argument of a network.

    Attributes:
        name: Its name in the export.
        dtype: Its numpy dtype.
        shape: A number for each fixed axis, a letter for each axis whose length may change.
    """

    name: str
    dtype: type[np.generic]
    shape: tuple[int | str, ...]


def compile_network(
    build: Callable[[], "nn.Module"], *, name: str, fingerprint: str, inputs: Sequence[Input]
) -> Forward:
    """Return the network as a function on arrays, from the cached export if there is one.

    Args:
        build: Makes the network with its weights; called only if it must be exported.
        name: Names the export in the cache.
        fingerprint: Of the network and its weights.
        inputs: Its arguments, in order.
    """
    made_by = {"torch": version("torch"), "opset": _OPSET, "format": _FORMAT_VERSION}
    key = fingerprint_of(network=name, fingerprint=fingerprint, **made_by)
    folder = cache_dir() / "networks" / f"{name}-{key[:16]}"
    try:
        artifact.verify(folder, kind="network", format_version=_FORMAT_VERSION)
        return _session_of(folder / _FILE, inputs)
    except ArtifactError as error:
        if artifact.exists(folder):
            _log.warning("the exported network is unusable, it is made again: %s", error)
    except _CANNOT_RUN as error:
        _log.warning("the exported network in %s does not run, it is made again: %s", folder, error)
    network = build().eval()
    try:
        exported = _export(network, inputs)
        forward = _session_of(exported, inputs)
    # torch's exporter raises RuntimeError and its children, ModuleNotFoundError without onnx.
    except (*_CANNOT_RUN, RuntimeError, ImportError, TypeError, ValueError) as error:
        _log.warning("%s runs in torch, slower: it cannot be exported to ONNX (%s)", name, error)
        return _in_torch(network)
    _keep(exported, folder)
    return forward


def side_by_side(
    encode: Callable[[Sequence[_T]], FloatArray], items: Sequence[_T], *, batch_size: int, dim: int
) -> FloatArray:
    """Return the features of items, shape (N, F), whose batches are encoded in several threads.

    Args:
        encode: Batches of at most batch_size items to their features.
        items: N of them.
        batch_size: Small, so that every thread has work.
        dim: Width F of the features.
    """
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    return batch_by_batch(encode, batches, dim=dim)


def batch_by_batch(
    encode: Callable[[Sequence[_T]], FloatArray], batches: Sequence[Sequence[_T]], *, dim: int
) -> FloatArray:
    """Return the features of batches, one after another, shape (N, F), encoded in several threads.

    Args:
        encode: A batch to its features.
        batches: With N items together; the slow ones last would leave threads without work.
        dim: Width F of the features.
    """
    if not batches:
        return np.empty((0, dim), dtype=np.float32)
    if len(batches) == 1:
        return encode(batches[0])
    return np.concatenate(list(_pool().map(encode, batches)))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads(), thread_name_prefix="encode")


def n_threads() -> int:
    """Return how many batches run side by side: OMP_NUM_THREADS, or this process's cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):  # Linux: cores that a container or taskset leaves us
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _session_of(model: Path | bytes, inputs: Iterable[Input]) -> Forward:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in inputs]

    def forward(*arrays: npt.NDArray[Any]) -> FloatArray:
        features: FloatArray = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        return features

    return forward


def _in_torch(network: "nn.Module") -> Forward:
    import torch

    def forward(*arrays: npt.NDArray[Any]) -> FloatArray:
        with torch.inference_mode():
            features: FloatArray = network(*map(torch.from_numpy, arrays)).numpy()
        return features

    return forward


def _export(network: "nn.Module", inputs: Sequence[Input]) -> bytes:
    import torch

    examples = tuple(
        torch.from_numpy(np.ones([n if isinstance(n, int) else 2 for n in each.shape], each.dtype))
        for each in inputs
    )
    free_axes = {
        each.name: {axis: n for axis, n in enumerate(each.shape) if isinstance(n, str)}
        for each in inputs
    }
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / _FILE
        # The exporter that follows the code as it runs is older than torch.export's, and needs
        # no onnxscript; it says so at each call, and what it does not simplify.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            examples,
            file,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[each.name for each in inputs],
            output_names=[_OUTPUT],
            dynamic_axes={**free_axes, _OUTPUT: {0: "B"}},
        )
        return file.read_bytes()


def _keep(exported: bytes, folder: Path) -> None:
    try:
        with artifact.writing(folder, kind="network", format_version=_FORMAT_VERSION) as staging:
            (staging / _FILE).write_bytes(exported)
    except ArtifactError as error:  # full disk, or another process was quicker
        _log.warning("the exported network is not kept: %s", error)
