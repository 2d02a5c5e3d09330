"""Measured attributes: what a sensor found, against what each class would show.

    ranges = ClassAttributes.of(open_base("everyday"), "scan")
    ranges.log_likelihood(instrument.measure(items))                        # (N, A) -> (N, C)

Nothing is trained. A language model wrote, per class, the range that holds four of five typical
instances; an instrument measures the item in the same units.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from scipy.stats import norm

from unibind.alignment.reasons import Part, as_reasons
from unibind.errors import InvalidInputError
from unibind.knowledge.base import KnowledgeBase
from unibind.knowledge.sensors import Attribute, find_sensor
from unibind.types import FloatArray, Reason

__all__ = ["MEASURED_WEIGHT", "ClassAttributes"]

MEASURED_WEIGHT = 0.5
"""Of log likelihood ratios where no held-out classes chose one: what is measured of one thing
hangs together (a high chair is a wide one), so that counting each attribute fully counts twice."""

_COVERAGE = 0.8
"""Share of a class's instances that a range was asked to hold."""

_HALF_WIDTH = float(norm.ppf(0.5 + _COVERAGE / 2))
"""Half a range in standard deviations, 1.28."""

_LEAST_SPREAD: Mapping[str, float] = {"log": 0.15, "linear": 0.1}
"""No class is known better than this, whatever was written: 15 % of a size, a tenth of a share."""

_WIDE = 3.0
"""How much wider than all classes together the bell of wild measurements is."""

_MAX_NUMBERS = 10_000_000
"""Items x classes x attributes that are held at once."""

_SURPRISE = 0.02
"""How often a measurement, or the range it is held against, is simply wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassAttributes:
    """What each of C classes would show of A attributes: one bell curve each.

    Attributes:
        labels: Names of the classes.
        attributes: What is measured.
        centers: Middle of each range, on the attribute's scale; NaN where none was written, (C, A).
        spreads: Standard deviation, on the same scale, (C, A).
        ranges: As they were written, in the attributes' units, low and high, (C, A, 2).

    Source:
        Direct attribute prediction: Lampert et al., Learning To Detect Unseen Object Classes by
        Between-Class Attribute Transfer, CVPR 2009, eq. 2. We differ: the classes' attributes are
        ranges in physical units that a language model wrote, and an instrument stands in for the
        trained attribute classifiers.
    """

    labels: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    centers: FloatArray
    spreads: FloatArray
    ranges: FloatArray

    @classmethod
    def of(
        cls,
        base: KnowledgeBase,
        sensor: str,
        *,
        classes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
    ) -> Self:
        """Return what classes of a knowledge base would show to a kind of sensor.

        Args:
            base: The knowledge base.
            sensor: As the base calls it: ``"scan"``.
            classes: Which classes, in this order, those without ranges among them; by default all
                that have any.
            attributes: Which attributes, in this order; all of the sensor's by default.

        Raises:
            InvalidInputError: The sensor, or one of the attributes, is not known, or no class has
                a range.
        """
        known = find_sensor(sensor).attributes
        names = list(known) if attributes is None else list(attributes)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InvalidInputError(
                f"{sensor} measures no {unknown[0]!r}; it measures {', '.join(known)}"
            )
        ranges_of = {
            each.class_name: each.ranges for each in base.attributes if each.sensor == sensor
        }
        labels = tuple(ranges_of if classes is None else classes)
        if not any(label in ranges_of for label in labels):
            raise InvalidInputError(
                f"none of {len(labels)} classes has ranges for {sensor!r}; write some with "
                f"`unibind knowledge measure NAME --sensor '{sensor}'`"
            )
        kinds = tuple(known[name] for name in names)
        bounds = np.full((len(labels), len(names), 2), np.nan)  # (C, A, 2)
        for c, label in enumerate(labels):
            for a, name in enumerate(names):
                bounds[c, a] = ranges_of.get(label, {}).get(name, (np.nan, np.nan))
        scaled = np.stack([_on_scale(bounds[:, a], kind) for a, kind in enumerate(kinds)], axis=1)
        least = np.array([_LEAST_SPREAD[kind.scale] for kind in kinds])
        spreads = np.maximum((scaled[..., 1] - scaled[..., 0]) / 2 / _HALF_WIDTH, least)
        return cls(
            labels,
            kinds,
            scaled.mean(axis=2).astype(np.float32),
            spreads.astype(np.float32),
            bounds.astype(np.float32),
        )

    def log_likelihood(self, measured: FloatArray) -> FloatArray:
        """Return how much better each class explains an item than classes do in general.

        Args:
            measured: In the attributes' units, shape (N, A); NaN where nothing was measured.

        Returns:
            Log likelihood ratios, shape (N, C); 0 where nothing was measured. A class without a
            range may show anything: it explains an item better than a class that it contradicts,
            and worse than one that it fits.

        Raises:
            InvalidInputError: The width is not A.
        """
        ratios: FloatArray = self.by_attribute(measured).sum(axis=2)
        return ratios

    def by_attribute(self, measured: FloatArray) -> FloatArray:
        """Return `log_likelihood` by attribute, shape (N, C, A).

        Raises:
            InvalidInputError: The width is not A.
        """
        if measured.ndim != 2 or measured.shape[1] != len(self.attributes):
            raise InvalidInputError(
                f"measured attributes have shape {measured.shape}, "
                f"(N, {len(self.attributes)}) was needed"
            )
        values = np.stack(
            [_on_scale(measured[:, a], kind) for a, kind in enumerate(self.attributes)], axis=1
        )
        step = max(1, _MAX_NUMBERS // max(1, self.centers.size))
        blocks = [
            self._told_by(values[start : start + step])
            for start in range(0, max(1, len(values)), step)
        ]
        return np.concatenate(blocks)

    def _told_by(self, values: npt.NDArray[np.float64]) -> FloatArray:
        """Return log likelihood ratios of values on the attributes' scales, shape (N, C, A)."""
        own = _log_bell(values[:, None], self.centers, self.spreads)
        # A wild measurement is as likely under every class, so that it decides nothing.
        wild = _log_bell(values[:, None], *self._anything())
        with np.errstate(invalid="ignore"):  # NaN where a range or a measurement is missing
            density = np.logaddexp(np.log1p(-_SURPRISE) + own, np.log(_SURPRISE) + wild)
        has_range = np.isfinite(self.centers)
        among = np.where(has_range, density, -np.inf)
        with np.errstate(invalid="ignore", divide="ignore"):  # nothing known of any class
            typical = logsumexp(among, axis=1, keepdims=True) - np.log(has_range.sum(axis=0))
            told = np.where(has_range, density, wild) - typical
        return np.where(np.isfinite(told), told, 0).astype(np.float32)

    def _anything(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return middle and spread, shape (A,), of a bell wide enough for whatever there is."""
        centers = np.where(np.isfinite(self.centers), self.centers, np.nan).astype(np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an attribute that no class has
            middle = np.nanmean(centers, axis=0)
            spread = np.sqrt(np.nanvar(centers, axis=0) + np.nanmean(self.spreads**2, axis=0))
        return middle, _WIDE * spread

    def parts(self, measured: FloatArray, label: str) -> list[Part]:
        """Return what each measurement of one item, shape (A,), adds to a class's likelihood.

        Raises:
            InvalidInputError: There is no such class.
        """
        if label not in self.labels:
            raise InvalidInputError(f"no class {label!r} among {len(self.labels)} with ranges")
        c = self.labels.index(label)
        told = self.by_attribute(measured[None])[0, c]  # (A,)
        return [
            Part(self._told(a, float(measured[a]), c), float(told[a]), "measurement")
            for a in np.flatnonzero(told)
        ]

    def reasons(self, measured: FloatArray, label: str) -> tuple[Reason, ...]:
        """Return what the measurements of one item, shape (A,), say of a class, loudest first.

        Raises:
            InvalidInputError: There is no such class.
        """
        return as_reasons(self.parts(measured, label))

    def permuted(self, rng: np.random.Generator) -> Self:
        """Return the same ranges handed out to the wrong classes: the control that must fail."""
        with_ranges = np.flatnonzero(np.isfinite(self.centers).any(axis=1))
        order = np.arange(len(self.labels))
        order[with_ranges] = rng.permutation(with_ranges)
        return replace(
            self,
            centers=self.centers[order],
            spreads=self.spreads[order],
            ranges=self.ranges[order],
        )

    def _told(self, a: int, value: float, c: int) -> str:
        kind = self.attributes[a]
        low, high = self.ranges[c, a]
        unit = f" {kind.unit}" if kind.unit else ""
        name = (
            kind.name.removesuffix("_" + kind.name.rsplit("_", 1)[-1]) if kind.unit else kind.name
        )
        expected = f"expected {_short(low)} to {_short(high)}" if np.isfinite(low) else "no range"
        return f"{name.replace('_', ' ')} {_short(value)}{unit} ({expected})"


def _log_bell(
    values: npt.NDArray[np.float64], middle: npt.NDArray[Any], spread: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return the log of a normal density, but for its constant."""
    density: npt.NDArray[np.float64] = -0.5 * ((values - middle) / spread) ** 2 - np.log(spread)
    return density


def _short(value: float) -> str:
    """Return a number to three digits, and large ones as people write them: 1,280."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _on_scale(values: npt.NDArray[Any], kind: Attribute) -> npt.NDArray[np.float64]:
    """Return values where equal distances mean equally much; what is not above 0 has no log."""
    values = values.astype(np.float64)
    if kind.scale == "linear":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    return np.where(np.isfinite(logs), logs, np.nan)
