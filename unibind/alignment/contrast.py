"""Contrastive training of heads on cached features, from the ridge solution on.

One step draws equally many items of each modality that is trained together, so that none owns the
space. A head may move away from its ridge solution only along the leading directions of its
inputs, and sees them through noise: what a few items of a class have in common by chance is
drowned, what the classes mean is not. Without the noise every loss here ends worse than the ridge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unibind.alignment.objective import Batch, Objective
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray

__all__ = ["SHAPES", "Contrast", "Course", "Learner", "Moved", "Shape", "confusable"]

Shape = Literal["linear", "low-rank", "mlp"]
"""What is learned beside the ridge solution: a matrix, one of low rank, or a hidden layer."""

SHAPES: tuple[Shape, ...] = ("linear", "low-rank", "mlp")

_MAX_HELD = 2**26
"""Rotated inputs are kept if they are no more numbers than this: 256 MiB."""

_TEMPERATURE_BOUNDS = (0.01, 1.0)


@dataclass(frozen=True, slots=True)
class Contrast:
    """How heads are trained by contrast.

    Attributes:
        objective: What is lowered.
        shape: What is learned beside the ridge solution.
        n_steps: Steps of Adam at most.
        check_every: Steps between two looks at the held-out classes.
        patience: Looks without a better one until it stops.
        batch_size: Rows of a step, over all modalities.
        learning_rate: Of the weights; the log temperature learns ten times as fast.
        weight_decay: Pulls towards the ridge solution, not towards zero.
        noise: Standard deviation of what is added to the inputs, in units of their own.
        mixup: Parameter of the Beta distribution by which two items are mixed; 0 mixes none.
        temperature: At the start; it is learned.
        n_directions: Leading directions of the inputs along which a head may move.
        rank: Of the low-rank shape.
        n_hidden: Units of the hidden layer of the MLP.
        hardness: How often a confusable class stands among the wrong answers; 1 treats all alike.
        n_confusable: How many of the nearest classes are confusable with each.
        max_candidates: Classes among which a step chooses at most: those of its items, then the
            confusable ones, then others at random.
    """

    objective: Objective = field(default_factory=Objective)
    shape: Shape = "linear"
    n_steps: int = 100
    check_every: int = 20
    patience: int = 3
    batch_size: int = 512
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    noise: float = 2.0
    mixup: float = 0.0
    temperature: float = 0.3
    n_directions: int = 512
    rank: int = 32
    n_hidden: int = 128
    hardness: float = 1.0
    n_confusable: int = 5
    max_candidates: int = 4096

    def __post_init__(self) -> None:
        counts = (self.check_every, self.batch_size, self.n_directions, self.rank, self.n_hidden)
        if min(counts) < 1 or self.n_steps < 0 or not self.temperature > 0 or self.hardness < 1:
            raise InvalidInputError(
                f"{self}: counts and the temperature must be above 0, hardness at least 1"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """One modality's items and the ridge solution that its head goes on from.

    Attributes:
        inputs: Not standardised, shape (N, F), for example mapped from disk.
        rows: Which of them are trained on.
        labels: Class of each of all N items, in [0, C).
        mean: What is taken off the inputs, shape (F,).
        scale: What they are then divided by, shape (F,).
        basis: Leading right singular vectors of the standardised inputs, shape (F, R).
        weight: Of the ridge solution, shape (F, D).
        bias: Of the ridge solution, shape (D,).
    """

    inputs: FloatArray
    rows: IntArray
    labels: IntArray
    mean: FloatArray
    scale: FloatArray
    basis: FloatArray
    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What a head has become: weight (F, D), bias (D,), and a hidden layer, empty if none."""

    weight: FloatArray
    bias: FloatArray
    hidden: FloatArray
    hidden_bias: FloatArray
    outward: FloatArray

    def project(self, standardised: FloatArray) -> FloatArray:
        """Return where it carries standardised inputs, shape (N, F), not of unit length."""
        projected: FloatArray = standardised @ self.weight + self.bias
        if self.outward.size:
            inner = np.maximum(standardised @ self.hidden + self.hidden_bias, 0)
            projected = projected + inner @ self.outward
        return projected


class Course:
    """One course of training; it can be stopped between two steps, and go on from its state.

    Args:
        learners: The modalities that are trained together.
        points: One unit-length point per class, shape (C, D).
        contrast: How.
        seed: Of batches, noise and mixing.
        centers: The K centers of each class, shape (C, K, D), for losses that tell them apart.
        near: Classes confusable with each, shape (C, n); the nearest by default.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        points: FloatArray,
        contrast: Contrast,
        *,
        seed: int,
        centers: FloatArray | None = None,
        near: IntArray | None = None,
    ) -> None:
        self.contrast = contrast
        self.step = 0
        self.loss = float("nan")
        self._generator = torch.Generator().manual_seed(seed)
        self._points = torch.from_numpy(points)
        self._centers = self._points[:, None] if centers is None else torch.from_numpy(centers)
        self._near = None
        if contrast.hardness > 1 or len(points) > contrast.max_candidates:
            near = confusable(points, contrast.n_confusable) if near is None else near
            self._near = torch.from_numpy(near)
        self._learners = [_Learning(each, contrast, self._generator) for each in learners]
        start = torch.tensor(contrast.temperature, dtype=torch.float32)
        self._log_temperature = start.log().requires_grad_()
        weights = [value for each in self._learners for value in each.parameters.values()]
        self._optimizer = torch.optim.Adam(
            [
                {"params": weights, "lr": contrast.learning_rate},
                {"params": [self._log_temperature], "lr": 10 * contrast.learning_rate},
            ]
        )

    @property
    def temperature(self) -> float:
        """The learned temperature."""
        return float(self._log_temperature.detach().exp().clamp(*_TEMPERATURE_BOUNDS))

    def advance(self, n_steps: int) -> None:
        """Take some steps more."""
        for _ in range(n_steps):
            self._take_one()
            self.step += 1

    def moved(self) -> list[Moved]:
        """Return what each learner's head has become."""
        return [each.moved() for each in self._learners]

    def state(self) -> dict[str, Tensor]:
        """Return all that is needed to go on later, by name."""
        state = {"step": torch.tensor(self.step), "generator": self._generator.get_state()}
        for name, value in self._named().items():
            state[f"value {name}"] = value.detach().clone()
            for what, number in self._optimizer.state.get(value, {}).items():
                state[f"{what} {name}"] = torch.as_tensor(number).clone()
        return state

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned of a course that began in the same way."""
        self.step = int(state["step"])
        self._generator.set_state(state["generator"])
        for name, value in self._named().items():
            with torch.no_grad():
                value.copy_(state[f"value {name}"])
            kept = {
                what: state[f"{what} {name}"].clone()
                for what in ("step", "exp_avg", "exp_avg_sq")
                if f"{what} {name}" in state
            }
            if kept:
                self._optimizer.state[value] = kept

    def _named(self) -> dict[str, Tensor]:
        named = {"temperature": self._log_temperature}
        for place, each in enumerate(self._learners):
            named |= {f"{name} of {place}": value for name, value in each.parameters.items()}
        return named

    def _take_one(self) -> None:
        share = max(1, self.contrast.batch_size // len(self._learners))
        drawn = [each.draw(share) for each in self._learners]
        labels = torch.cat([labels for _, labels in drawn])
        temperature = self._log_temperature.exp().clamp(*_TEMPERATURE_BOUNDS)
        if self.contrast.mixup:
            loss = self._mixed(drawn, temperature)
        else:
            embeddings = torch.cat(
                [each.embed(rows) for each, (rows, _) in zip(self._learners, drawn, strict=True)]
            )
            loss = self.contrast.objective(self._batch(embeddings, labels, temperature))
        decay = self.contrast.weight_decay
        if decay:
            loss = loss + decay * torch.stack([each.drift() for each in self._learners]).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.loss = float(loss.detach())

    def _mixed(self, drawn: Sequence[tuple[Tensor, Tensor]], temperature: Tensor) -> Tensor:
        """Return the loss of items mixed with others of their modality: both labels are right."""
        alpha = self.contrast.mixup
        seed = int(torch.randint(2**31, (1,), generator=self._generator))
        share = float(np.random.default_rng(seed).beta(alpha, alpha))
        embeddings, ones, others = [], [], []
        for each, (rows, labels) in zip(self._learners, drawn, strict=True):
            order = torch.randperm(len(rows), generator=self._generator)
            embeddings.append(each.embed(rows, partner=rows[order], share=share))
            ones.append(labels)
            others.append(labels[order])
        together = torch.cat(embeddings)
        losses = [
            self.contrast.objective(self._batch(together, torch.cat(labels), temperature))
            for labels in (ones, others)
        ]
        return share * losses[0] + (1 - share) * losses[1]

    def _batch(self, embeddings: Tensor, labels: Tensor, temperature: Tensor) -> Batch:
        chosen = self._candidates(labels)
        if chosen is None:
            points, centers, at = self._points, self._centers, labels
            near = self._near
        else:
            points, centers = self._points[chosen], self._centers[chosen]
            at = torch.searchsorted(chosen, labels)
            near = None  # all candidates are chosen for being hard, or at random
        weights = None
        if near is not None and self.contrast.hardness > 1:
            weights = torch.ones(len(labels), len(points))
            weights.scatter_(1, near[labels], self.contrast.hardness)
        return Batch(embeddings, at, centers, points, temperature, weights)

    def _candidates(self, labels: Tensor) -> Tensor | None:
        """Return the classes that take part, ascending; None if all do."""
        limit = self.contrast.max_candidates
        if len(self._points) <= limit or self._near is None:
            return None
        own = torch.unique(labels)
        hard = torch.unique(self._near[own])
        hard = hard[~torch.isin(hard, own)]
        room = max(0, limit - len(own))
        hard = hard[torch.randperm(len(hard), generator=self._generator)[:room]]
        drawn = torch.randint(
            len(self._points), (max(0, room - len(hard)),), generator=self._generator
        )
        chosen: Tensor = torch.unique(torch.cat([own, hard, drawn]))
        return chosen


class _Learning:
    """A learner's parameters and its stream of batches."""

    def __init__(self, learner: Learner, contrast: Contrast, generator: torch.Generator) -> None:
        self._learner, self._contrast, self._generator = learner, contrast, generator
        self._rows = torch.from_numpy(learner.rows)
        self._labels = torch.from_numpy(learner.labels)
        self._order = torch.empty(0, dtype=torch.int64)
        self._basis = torch.from_numpy(learner.basis[:, : contrast.n_directions])  # (F, R)
        self._start = torch.from_numpy(learner.weight)
        self._inner = self._basis.T @ self._start  # (R, D)
        self._bias = torch.from_numpy(learner.bias)
        self._held = None
        if len(learner.rows) * self._basis.shape[1] <= _MAX_HELD:
            self._held = self._rotate(self._rows)
        self.parameters = self._initial(contrast)

    def draw(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Return places among the trained rows, none twice, and their labels."""
        n_rows = min(n_rows, len(self._rows))
        if len(self._order) < n_rows:
            self._order = torch.randperm(len(self._rows), generator=self._generator)
        places, self._order = self._order[:n_rows], self._order[n_rows:]
        return places, self._labels[self._rows[places]]

    def embed(self, places: Tensor, partner: Tensor | None = None, share: float = 1.0) -> Tensor:
        """Return the noisy embeddings of trained rows, mixed with partners if there are any."""
        rotated, rest = self._seen(places)
        if partner is not None:
            others, other_rest = self._seen(partner)
            rotated = share * rotated + (1 - share) * others
            rest = share * rest + (1 - share) * other_rest
        if self._contrast.noise:
            rotated = rotated + self._contrast.noise * torch.randn(
                rotated.shape, generator=self._generator
            )
        return functional.normalize(rest + self._out(rotated), dim=1)

    def drift(self) -> Tensor:
        """Return the squared distance from the ridge solution."""
        changes = [value for name, value in self.parameters.items() if name != "hidden"]
        if self._contrast.shape == "linear":
            changes = [self.parameters["weight"] - self._inner, self.parameters["bias"]]
        return torch.stack([(value**2).sum() for value in changes]).sum()

    def moved(self) -> Moved:
        """Return the head as it is now, in terms of standardised inputs."""
        now = {name: value.detach() for name, value in self.parameters.items()}
        weight, nothing = self._start, np.zeros((0, 0), dtype=np.float32)
        hidden, hidden_bias, outward = nothing, nothing[0:0, 0:0].reshape(0), nothing
        if self._contrast.shape == "linear":
            weight = weight + self._basis @ (now["weight"] - self._inner)
        elif self._contrast.shape == "low-rank":
            weight = weight + self._basis @ (now["down"] @ now["up"])
        else:
            hidden = (self._basis @ now["hidden"]).numpy()
            hidden_bias, outward = now["hidden_bias"].numpy().copy(), now["outward"].numpy().copy()
        bias = self._bias + now["bias"]
        return Moved(weight.numpy().copy(), bias.numpy().copy(), hidden, hidden_bias, outward)

    def _initial(self, contrast: Contrast) -> dict[str, Tensor]:
        n_directions, dim = self._inner.shape
        bias = torch.zeros(dim)
        if contrast.shape == "linear":
            values = {"weight": self._inner.clone(), "bias": bias}
        elif contrast.shape == "low-rank":
            down = torch.randn(n_directions, contrast.rank, generator=self._generator)
            values = {
                "down": down / n_directions**0.5,
                "up": torch.zeros(contrast.rank, dim),
                "bias": bias,
            }
        else:
            hidden = torch.randn(n_directions, contrast.n_hidden, generator=self._generator)
            values = {
                "hidden": hidden / n_directions**0.5,
                "hidden_bias": torch.zeros(contrast.n_hidden),
                "outward": torch.zeros(contrast.n_hidden, dim),
                "bias": bias,
            }
        return {name: value.requires_grad_() for name, value in values.items()}

    def _out(self, rotated: Tensor) -> Tensor:
        now = self.parameters
        if self._contrast.shape == "linear":
            return rotated @ now["weight"] + now["bias"]
        if self._contrast.shape == "low-rank":
            return rotated @ self._inner + rotated @ now["down"] @ now["up"] + now["bias"]
        inner = torch.relu(rotated @ now["hidden"] + now["hidden_bias"])
        return rotated @ self._inner + inner @ now["outward"] + now["bias"]

    def _seen(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows along the leading directions, (B, R), and where the rest carries them."""
        if self._held is not None:
            rotated, rest = self._held
            return rotated[places], rest[places]
        return self._rotate(self._rows[places])

    def _rotate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        learner = self._learner
        block = np.asarray(learner.inputs[rows.numpy()], dtype=np.float32)
        standardised = torch.from_numpy((block - learner.mean) / learner.scale)
        rotated = standardised @ self._basis  # (B, F) @ (F, R) -> (B, R)
        return rotated, standardised @ self._start + self._bias - rotated @ self._inner


def confusable(points: FloatArray, n_nearest: int) -> IntArray:
    """Return the classes nearest to each, shape (C, n): what it is most easily taken for.

    Args:
        points: Unit-length rows, shape (C, D).
        n_nearest: At most this many, and never the class itself.
    """
    n_nearest = min(n_nearest, len(points) - 1)
    near = np.zeros((len(points), n_nearest), dtype=np.int64)
    step = max(1, 2**25 // len(points))  # 128 MiB of cosines at once
    for start in range(0, len(points), step):
        cosines = points[start : start + step] @ points.T
        own = np.arange(start, start + len(cosines))
        cosines[np.arange(len(cosines)), own] = -np.inf
        near[own] = np.argpartition(-cosines, max(0, n_nearest - 1), axis=1)[:, :n_nearest]
    return near
