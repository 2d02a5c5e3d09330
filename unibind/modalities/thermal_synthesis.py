"""Made-up thermal pictures, for tests and documents. **Synthetic**: no camera saw them.

No thermal data comes with an ordinary package, so what the thermal path does to real pictures is
not measured anywhere in this project.
"""

import numpy as np

from unibind.modalities.thermal import Thermogram
from unibind.types import FloatArray

__all__ = ["synthetic_thermogram"]


def synthetic_thermogram(
    *,
    seed: int,
    n_warm: int = 2,
    room_c: float = 21.0,
    warm_c: float = 34.0,
    shape: tuple[int, int] = (120, 160),
) -> Thermogram:
    """Return a synthetic thermal picture: round warm bodies before a wall with a slope and noise.

    Args:
        seed: Of places, sizes and noise.
        n_warm: How many bodies.
        room_c: Temperature of the wall in degrees Celsius.
        warm_c: Temperature in the middle of a body.
        shape: Height and width in pixels.
    """
    generator = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    celsius: FloatArray = room_c + 1.5 * rows / height + generator.normal(0, 0.05, shape)
    for _ in range(n_warm):
        row, column = generator.uniform(0.2, 0.8, 2) * shape
        radius = generator.uniform(0.08, 0.2) * min(shape)
        distance = np.hypot(rows - row, columns - column) / radius
        celsius = np.maximum(celsius, room_c + (warm_c - room_c) * (1.2 - 0.4 * distance**2))
    celsius = np.minimum(celsius, warm_c + generator.normal(0, 0.05, shape))
    return Thermogram(celsius.astype(np.float32), low_c=room_c - 1, high_c=warm_c + 1)
