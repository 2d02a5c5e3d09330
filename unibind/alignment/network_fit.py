"""One network's training: epochs of contrast, watched on items it does not see, interruptible.

Random numbers of an epoch are drawn from its own number, so an epoch does not depend on whether
training was interrupted before it.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from unibind import artifact
from unibind.alignment.losses import center_loss, multi_positive_loss
from unibind.alignment.targets import Targets
from unibind.encoders.trainable import Weights
from unibind.errors import ArtifactError
from unibind.protocols import NetworkDesign
from unibind.types import FloatArray, Json, ProgressCallback

__all__ = ["NetworkFit", "Schedule", "discard", "fit_network"]

_KIND = "training-checkpoint"
_FORMAT_VERSION = 1
_FILE = "state.safetensors"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a network is trained.

    Attributes:
        n_epochs: At most.
        patience: Epochs without a better outcome on the watched items, after which it ends.
        batch_size: Items of a step.
        learning_rate: Of AdamW; the log temperature learns ten times as fast.
        weight_decay: Of AdamW.
        center_share: Share of the center loss; the rest is the multi-positive loss.
        temperature: At the start; it is learned.
        checkpoint_s: Seconds between two checkpoints.
    """

    n_epochs: int = 100
    patience: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    center_share: float = 0.8
    temperature: float = 0.07
    checkpoint_s: float = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFit:
    """A network after its best epoch.

    Attributes:
        weights: Of the network alone.
        n_epochs: Epochs until then.
        accuracy: On the watched items, against the points of their classes; NaN without any.
    """

    weights: Weights
    n_epochs: int
    accuracy: float


def fit_network(
    design: NetworkDesign,
    prepared: FloatArray,
    targets: Targets,
    *,
    watched: tuple[FloatArray, Targets] | None,
    schedule: Schedule,
    seed: int,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
) -> NetworkFit:
    """Return a network after its best epoch on the watched items, or after the last.

    Args:
        design: What to train.
        prepared: Shape (N, *shape).
        targets: What each is pulled towards.
        watched: Items of the same points that are not trained on.
        schedule: How to train.
        seed: Of weights and batches.
        checkpoint: A folder to go on from, if it is of the same training, and to write to.
        progress: Called after each epoch, with epochs done and at most to come.

    Raises:
        ArtifactError: The checkpoint cannot be written.
    """
    run = _Run(design, targets, schedule, seed)
    key = _key(design, prepared, targets, schedule, seed, has_watched=watched is not None)
    if checkpoint is not None:
        run.go_on_from(checkpoint, key)
    saved_at = time.monotonic()
    try:
        while not run.is_done:
            run.epoch(prepared)
            run.judge(watched)
            if progress is not None:
                progress(run.n_epochs, schedule.n_epochs)
            if checkpoint is not None and time.monotonic() - saved_at > schedule.checkpoint_s:
                run.save(checkpoint, key)
                saved_at = time.monotonic()
    finally:
        if checkpoint is not None:  # an interruption loses nothing
            run.save(checkpoint, key)
    return run.outcome()


def discard(checkpoint: Path) -> None:
    """Remove what `fit_network` kept for an interruption."""
    shutil.rmtree(checkpoint, ignore_errors=True)


class _Run:
    """A network in training: what changes from epoch to epoch."""

    def __init__(
        self, design: NetworkDesign, targets: Targets, schedule: Schedule, seed: int
    ) -> None:
        self._design, self._schedule, self._seed = design, schedule, seed
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._centers = torch.from_numpy(targets.points)[:, None].to(self._device)  # (U, 1, D)
        self._labels = torch.from_numpy(targets.rows)
        self._number = {name: n for n, name in enumerate(targets.names)}
        self.parts = nn.ModuleDict(
            {
                "network": design.network(seed),
                "projection": _projection(design.dim, targets.points.shape[1], seed),
            }
        ).to(self._device)
        start = torch.tensor(float(np.log(schedule.temperature)), device=self._device)
        self.log_temperature = nn.Parameter(start)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(self.parts.parameters()), "lr": schedule.learning_rate},
                {
                    "params": [self.log_temperature],
                    "lr": 10 * schedule.learning_rate,
                    "weight_decay": 0.0,
                },
            ],
            weight_decay=schedule.weight_decay,
        )
        self.n_epochs = self._best_epoch = 0
        self._best = (-1.0, -np.inf)  # accuracy, then minus the loss
        self._best_weights = self._network_weights()

    @property
    def is_done(self) -> bool:
        """Whether nothing is to be hoped for from further epochs."""
        is_stale = self.n_epochs - self._best_epoch >= self._schedule.patience
        return self.n_epochs >= self._schedule.n_epochs or is_stale

    def epoch(self, prepared: FloatArray) -> None:
        """Train once on every item."""
        self.parts.train()
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self.n_epochs)
        for rows in self._batches(len(prepared), generator):
            batch = torch.from_numpy(prepared[rows.numpy()])
            augmented = self._design.augment(batch, generator).to(self._device)
            embeddings = self._embed(augmented)
            labels = self._labels[rows].to(self._device)
            temperature = self.log_temperature.exp().clamp(0.01, 1.0)
            share = self._schedule.center_share
            loss = share * center_loss(embeddings, self._centers, labels, temperature=temperature)
            loss = loss + (1 - share) * multi_positive_loss(
                embeddings, labels, temperature=temperature
            )
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        self.n_epochs += 1

    def judge(self, watched: tuple[FloatArray, Targets] | None) -> None:
        """Keep this epoch's weights if it is the best so far; without watched items, always."""
        outcome = (np.nan, np.nan) if watched is None else self._outcome_on(*watched)
        if watched is None or outcome > self._best:
            self._best, self._best_epoch = outcome, self.n_epochs
            self._best_weights = self._network_weights()

    def outcome(self) -> NetworkFit:
        """Return the best epoch."""
        weights = {name: each.cpu().numpy() for name, each in self._best_weights.items()}
        return NetworkFit(weights, self._best_epoch, float(self._best[0]))

    def save(self, path: Path, key: str) -> None:
        """Write everything that the next epoch depends on."""
        state = {f"parts.{name}": each for name, each in self.parts.state_dict().items()}
        state |= {f"best.{name}": each for name, each in self._best_weights.items()}
        state["log_temperature"] = self.log_temperature.detach()
        for number, entries in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{name}": each for name, each in entries.items()}
        params: dict[str, Json] = {
            "key": key,
            "n_epochs": self.n_epochs,
            "best_epoch": self._best_epoch,
            "best": [str(value) for value in self._best],  # JSON has no NaN
        }
        with artifact.writing(
            path, kind=_KIND, format_version=_FORMAT_VERSION, params=params
        ) as folder:
            tensors = {name: each.detach().cpu().contiguous() for name, each in state.items()}
            (folder / _FILE).write_bytes(save(tensors))

    def go_on_from(self, path: Path, key: str) -> None:
        """Take over what a checkpoint holds, if it is whole and of the same training."""
        try:
            manifest = artifact.verify(path, kind=_KIND, format_version=_FORMAT_VERSION)
        except ArtifactError:  # there is none, or it is damaged: begin anew
            return
        if manifest.params["key"] != key:
            return
        state = load_file(path / _FILE)
        self.parts.load_state_dict(_under("parts.", state))
        self._best_weights = _under("best.", state)
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
        fresh = self._optimizer.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        for name, each in _under("optimizer.", state).items():
            number, _, what = name.partition(".")
            entries.setdefault(int(number), {})[what] = each
        self._optimizer.load_state_dict({**fresh, "state": entries})
        self.n_epochs = manifest.params["n_epochs"]
        self._best_epoch = manifest.params["best_epoch"]
        accuracy, loss = (float(value) for value in manifest.params["best"])
        self._best = (accuracy, loss)

    def _batches(self, n_items: int, generator: torch.Generator) -> Iterator[Tensor]:
        order = torch.randperm(n_items, generator=generator)
        starts = range(0, n_items, self._schedule.batch_size)
        return (order[start : start + self._schedule.batch_size] for start in starts)

    def _embed(self, batch: Tensor) -> Tensor:
        return functional.normalize(self.parts["projection"](self.parts["network"](batch)), dim=1)

    def _outcome_on(self, prepared: FloatArray, targets: Targets) -> tuple[float, float]:
        """Return accuracy and minus the loss on items that are not trained on."""
        self.parts.eval()
        of_name = [self._number[name] for name in targets.names]
        labels = torch.tensor(of_name, device=self._device)[targets.rows]
        with torch.inference_mode():
            size = self._schedule.batch_size
            batches = [prepared[at : at + size] for at in range(0, len(prepared), size)]
            embeddings = torch.cat(
                [self._embed(torch.from_numpy(batch).to(self._device)) for batch in batches]
            )
            logits = embeddings @ self._centers[:, 0].T / self.log_temperature.exp().clamp(0.01, 1)
            loss = functional.cross_entropy(logits, labels)
            accuracy = (logits.argmax(dim=1) == labels).float().mean()
        return round(float(accuracy), 6), -float(loss)

    def _network_weights(self) -> dict[str, Tensor]:
        return {
            name: each.detach().clone() for name, each in self.parts["network"].state_dict().items()
        }


def _projection(n_in: int, n_out: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return nn.Linear(n_in, n_out)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)
    }


def _key(
    design: NetworkDesign,
    prepared: FloatArray,
    targets: Targets,
    schedule: Schedule,
    seed: int,
    *,
    has_watched: bool,
) -> str:
    """Return the hash of everything that decides a training."""
    digest = hashlib.sha256(
        f"{design.fingerprint} {asdict(schedule)} {seed} {has_watched}".encode()
    )
    for array in (prepared, targets.points, targets.rows):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
