"""Things that nobody else made: drawn pictures, synthesised sounds, built scans, computed traces.

They fill a space for the pictures of the console in the documentation, so that nothing in those
belongs to anybody else. Each maker takes a generator of random numbers and returns a file.
"""

import io
import wave
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw

Random = np.random.Generator
Colour = tuple[int, int, int]
RATE_HZ = 22_050
_SIDE, _SCALE = 256, 3

# Pictures: shapes in a square of 100 x 100, drawn three times as large and made smaller.


class Pen:
    """Draws in a square of 100 x 100."""

    def __init__(self, picture: Image.Image) -> None:
        self._draw = ImageDraw.Draw(picture)
        self._by = picture.width / 100

    def shape(self, kind: str, *points: float, fill: Colour, **more: object) -> None:
        """Draw an ellipse, a rectangle, a polygon, ... of points, fill and more."""
        places = [point * self._by for point in points]
        if kind == "polygon":
            places = list(zip(places[::2], places[1::2], strict=True))
        getattr(self._draw, kind)(places, fill=fill, **more)

    def line(self, *points: float, fill: Colour, width: float) -> None:
        """Draw a line with round joints."""
        places = [point * self._by for point in points]
        pairs = list(zip(places[::2], places[1::2], strict=True))
        self._draw.line(pairs, fill=fill, width=round(width * self._by), joint="curve")
        for x, y in pairs:
            r = width * self._by / 2
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def arc(self, *box: float, start: float, end: float, fill: Colour, width: float) -> None:
        """Draw part of an ellipse's outline."""
        places = [point * self._by for point in box]
        self._draw.arc(places, start, end, fill=fill, width=round(width * self._by))


DARK: Colour = (58, 52, 60)


def shade(colour: Colour, by: float) -> Colour:
    """Return a colour made darker (by < 1) or lighter."""
    return tuple(min(255, int(part * by)) for part in colour)  # type: ignore[return-value]


def kettle(pen: Pen, main: Colour) -> None:
    pen.line(70, 58, 86, 44, 90, 46, fill=shade(main, 0.8), width=7)
    pen.shape("ellipse", 20, 34, 76, 86, fill=main)
    pen.shape("rectangle", 22, 76, 74, 86, fill=main)
    pen.arc(26, 10, 70, 62, start=200, end=340, fill=DARK, width=5)
    pen.shape("ellipse", 40, 30, 56, 40, fill=DARK)
    pen.shape("ellipse", 29, 44, 39, 62, fill=shade(main, 1.35))


def umbrella(pen: Pen, main: Colour) -> None:
    pen.shape("pieslice", 12, 16, 88, 92, fill=main, start=180, end=360)
    for n in range(4):
        pen.shape("ellipse", 12 + 19 * n, 47, 31 + 19 * n, 61, fill=(247, 246, 242))
    pen.line(50, 20, 50, 82, fill=DARK, width=3)
    pen.arc(38, 74, 50, 90, start=0, end=180, fill=DARK, width=3)
    pen.line(50, 12, 50, 18, fill=DARK, width=3)


def sailboat(pen: Pen, main: Colour) -> None:
    pen.shape("rectangle", 0, 78, 100, 100, fill=(120, 176, 214))
    pen.shape("polygon", 16, 68, 84, 68, 72, 84, 28, 84, fill=(132, 88, 56))
    pen.line(48, 14, 48, 68, fill=DARK, width=2.5)
    pen.shape("polygon", 51, 16, 51, 63, 80, 63, fill=main)
    pen.shape("polygon", 45, 24, 45, 63, 22, 63, fill=shade(main, 1.25))


def house(pen: Pen, main: Colour) -> None:
    pen.shape("rectangle", 64, 20, 73, 44, fill=(120, 84, 74))
    pen.shape("rectangle", 22, 46, 78, 86, fill=(240, 226, 200))
    pen.shape("polygon", 12, 48, 50, 16, 88, 48, fill=main)
    pen.shape("rectangle", 43, 60, 57, 86, fill=(128, 88, 58))
    for x in (28, 62):
        pen.shape("rectangle", x, 56, x + 11, 68, fill=(140, 190, 216))


def tree(pen: Pen, main: Colour) -> None:
    pen.shape("polygon", 45, 60, 55, 60, 58, 92, 42, 92, fill=(122, 86, 56))
    for x, y, r in ((34, 52, 20), (66, 52, 20), (50, 34, 24), (50, 56, 20)):
        pen.shape("ellipse", x - r, y - r, x + r, y + r, fill=main)
    pen.shape("ellipse", 36, 22, 52, 36, fill=shade(main, 1.2))


def apple(pen: Pen, main: Colour) -> None:
    for x in (38, 62):
        pen.shape("ellipse", x - 24, 30, x + 24, 86, fill=main)
    pen.line(50, 36, 54, 18, fill=(110, 78, 50), width=3.5)
    pen.shape("ellipse", 55, 14, 76, 26, fill=(104, 160, 78))
    pen.shape("ellipse", 24, 42, 34, 58, fill=shade(main, 1.35))


def candle(pen: Pen, main: Colour) -> None:
    pen.shape("ellipse", 28, 82, 72, 94, fill=(190, 160, 96))
    pen.shape("rectangle", 40, 42, 60, 88, fill=main)
    pen.line(50, 42, 50, 34, fill=DARK, width=2)
    pen.shape("ellipse", 42, 12, 58, 38, fill=(250, 186, 70))
    pen.shape("ellipse", 46, 22, 54, 37, fill=(255, 232, 160))


def balloon(pen: Pen, main: Colour) -> None:
    pen.shape("ellipse", 22, 8, 78, 70, fill=main)
    pen.shape("polygon", 46, 68, 54, 68, 50, 74, fill=shade(main, 0.8))
    pen.line(50, 74, 47, 82, 53, 90, 50, 97, fill=DARK, width=1.5)
    pen.shape("ellipse", 33, 18, 43, 34, fill=shade(main, 1.4))


def cup(pen: Pen, main: Colour) -> None:
    pen.arc(60, 42, 90, 72, start=0, end=360, fill=shade(main, 0.85), width=6)
    pen.shape("rectangle", 22, 36, 74, 70, fill=main)
    pen.shape("pieslice", 22, 52, 74, 90, fill=main, start=0, end=180)
    pen.shape("ellipse", 22, 30, 74, 42, fill=(96, 64, 44))
    for x in (36, 48, 60):
        pen.arc(x - 5, 10, x + 5, 26, start=60, end=240, fill=(190, 190, 190), width=2)


def star(pen: Pen, main: Colour) -> None:
    angles = np.pi * (np.arange(10) / 5 - 0.5)
    radii = np.where(np.arange(10) % 2, 17, 42)
    points = np.stack([50 + radii * np.cos(angles), 53 + radii * np.sin(angles)], axis=1)
    pen.shape("polygon", *points.ravel().tolist(), fill=main)


def mushroom(pen: Pen, main: Colour) -> None:
    pen.shape("rounded_rectangle", 40, 50, 60, 90, fill=(240, 230, 212), radius=12)
    pen.shape("pieslice", 14, 18, 86, 90, fill=main, start=180, end=360)
    for x, y, r in ((34, 40, 5), (52, 30, 6), (68, 44, 5)):
        pen.shape("ellipse", x - r, y - r, x + r, y + r, fill=(250, 246, 238))


def key(pen: Pen, main: Colour) -> None:
    pen.shape("ellipse", 10, 34, 42, 66, fill=main)
    pen.shape("ellipse", 19, 43, 33, 57, fill=(247, 246, 242))
    pen.shape("rectangle", 40, 46, 90, 54, fill=main)
    for x in (70, 82):
        pen.shape("rectangle", x, 54, x + 6, 66, fill=main)


_WARM: tuple[Colour, ...] = ((206, 64, 58), (222, 132, 52), (232, 178, 66))
_COOL: tuple[Colour, ...] = ((58, 118, 190), (46, 140, 128), (120, 96, 178))
_GREEN: tuple[Colour, ...] = ((82, 140, 74), (60, 122, 84), (120, 160, 70))
PICTURES: Mapping[str, tuple[Callable[[Pen, Colour], None], tuple[Colour, ...]]] = {
    "kettle": (kettle, (*_WARM[:1], *_COOL[:2])),
    "umbrella": (umbrella, (*_WARM[:2], _COOL[2])),
    "sailboat": (sailboat, (_WARM[0], _WARM[2], (238, 236, 230))),
    "house": (house, (_WARM[0], _COOL[0], _COOL[1])),
    "tree": (tree, _GREEN),
    "apple": (apple, (_WARM[0], _GREEN[2], _WARM[2])),
    "candle": (candle, ((246, 236, 216), _WARM[0], _COOL[1])),
    "balloon": (balloon, (_WARM[0], _COOL[0], _COOL[2])),
    "cup": (cup, (_COOL[0], _WARM[1], (226, 222, 214))),
    "star": (star, (_WARM[2], (240, 200, 90), _WARM[1])),
    "mushroom": (mushroom, (_WARM[0], _WARM[1], (150, 104, 76))),
    "key": (key, ((196, 160, 84), (150, 156, 164), (172, 116, 70))),
}


def picture(draw: Callable[[Pen, Colour], None], colour: Colour, *, turn: float = 0) -> bytes:
    """Return a drawing as PNG."""
    side = _SIDE * _SCALE
    canvas = Image.new("RGB", (side, side), (247, 246, 242))
    draw(Pen(canvas), colour)
    canvas = canvas.rotate(turn, Image.Resampling.BICUBIC, fillcolor=(247, 246, 242))
    buffer = io.BytesIO()
    canvas.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


# Sounds.


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE_HZ)) / RATE_HZ


def _plucked(pitch_hz: float, seconds: float, random: Random) -> np.ndarray:
    """Return a plucked string: noise that goes round a delay line and is smoothed each time."""
    ring = random.uniform(-1, 1, int(RATE_HZ / pitch_hz))
    samples = np.empty(int(seconds * RATE_HZ))
    for n in range(len(samples)):
        place = n % len(ring)
        samples[n] = ring[place]
        ring[place] = 0.498 * (ring[place] + ring[(place + 1) % len(ring)])
    return samples


def guitar(random: Random) -> np.ndarray:
    root = random.choice([110.0, 123.5, 98.0])
    samples = np.zeros(int(2.5 * RATE_HZ))
    for n, ratio in enumerate((1, 1.5, 2, 2.5, 3)):
        begin = int(0.18 * n * RATE_HZ)
        samples[begin:] += _plucked(root * ratio, 2.5, random)[: len(samples) - begin]
    return samples


def drum(random: Random) -> np.ndarray:
    samples = np.zeros(int(2.4 * RATE_HZ))
    for n in range(8):
        t = _time(0.28)
        pitch = random.uniform(55, 90) * (1 + 1.5 * np.exp(-30 * t))
        beat = np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ) * np.exp(-14 * t)
        beat += 0.25 * random.normal(size=len(t)) * np.exp(-60 * t)
        begin = int(0.28 * n * RATE_HZ)
        samples[begin : begin + len(t)] += beat[: len(samples) - begin] * (1 if n % 2 else 0.7)
    return samples


def helicopter(random: Random) -> np.ndarray:
    t = _time(2.5)
    noise = np.convolve(random.normal(size=len(t)), np.ones(24) / 24, "same")
    return noise * (0.25 + np.maximum(0, np.sin(2 * np.pi * random.uniform(10, 14) * t)) ** 4)


def clock(random: Random) -> np.ndarray:
    samples = np.zeros(int(3 * RATE_HZ))
    for n in range(6):
        t = _time(0.05)
        pitch = (2100 if n % 2 else 1700) * random.uniform(0.97, 1.03)
        tick = np.sin(2 * np.pi * pitch * t) * np.exp(-120 * t)
        begin = int((0.1 + 0.5 * n) * RATE_HZ)
        samples[begin : begin + len(t)] += tick
    return samples


def train(random: Random) -> np.ndarray:
    t = _time(2.5)
    chord = sum(np.sin(2 * np.pi * f * random.uniform(0.99, 1.01) * t) for f in (311, 370, 466))
    return chord * np.minimum(1, 8 * t) * np.minimum(1, 8 * (2.5 - t)) * 0.4


def fire(random: Random) -> np.ndarray:
    t = _time(2.5)
    samples = 0.06 * np.convolve(random.normal(size=len(t)), np.ones(60) / 8, "same")
    for begin in random.integers(0, len(t) - 900, 60):
        length = int(random.integers(80, 800))
        crack = random.normal(size=length) * np.exp(-np.arange(length) / (length / 6))
        samples[begin : begin + length] += crack * random.uniform(0.1, 0.8)
    return samples


SOUNDS: Mapping[str, Callable[[Random], np.ndarray]] = {
    "guitar": guitar,
    "drum": drum,
    "helicopter": helicopter,
    "clock": clock,
    "train": train,
    "fire": fire,
}


def sound(make: Callable[[Random], np.ndarray], random: Random) -> bytes:
    """Return a sound as WAV."""
    samples = make(random)
    samples = 0.8 * samples / max(1e-9, np.abs(samples).max())
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


# Scans: points on boxes, tubes and balls, in metres, z up.


def box(random: Random, centre: tuple[float, ...], size: tuple[float, ...], n: int) -> np.ndarray:
    """Return points on a box's surface."""
    dims = np.array(size)
    areas = np.array([dims[1] * dims[2], dims[0] * dims[2], dims[0] * dims[1]])
    points = random.uniform(-0.5, 0.5, (n, 3))
    axis = random.choice(3, n, p=areas / areas.sum())
    points[np.arange(n), axis] = random.choice([-0.5, 0.5], n)
    return points * dims + np.array(centre)


def tube(
    random: Random, base: tuple[float, ...], r0: float, r1: float, high: float, n: int
) -> np.ndarray:
    """Return points on a cone's side, from radius r0 below to r1 above."""
    up, angle = random.uniform(0, 1, n), random.uniform(0, 2 * np.pi, n)
    radius = r0 + (r1 - r0) * up
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), up * high], axis=1)
    return points + np.array(base)


def chair(random: Random) -> np.ndarray:
    wide, seat = random.uniform(0.42, 0.5), random.uniform(0.43, 0.48)
    high = random.uniform(0.4, 0.5)
    legs = [
        box(random, (x * wide / 2, y * wide / 2, seat / 2), (0.04, 0.04, seat), 300)
        for x in (-0.9, 0.9)
        for y in (-0.9, 0.9)
    ]
    back = [
        box(random, (0, wide / 2, seat + high * part), (wide, 0.03, 0.08), 350)
        for part in (0.35, 0.65, 0.95)
    ]
    posts = [
        box(random, (x * wide / 2, wide / 2, seat + high / 2), (0.04, 0.04, high), 300)
        for x in (-0.95, 0.95)
    ]
    return np.vstack([*legs, *back, *posts, box(random, (0, 0, seat), (wide, wide, 0.04), 1500)])


def table(random: Random) -> np.ndarray:
    long, wide = random.uniform(1.2, 1.8), random.uniform(0.7, 0.9)
    high = random.uniform(0.7, 0.76)
    legs = [
        box(random, (x * long, y * wide, high / 2), (0.07, 0.07, high), 350)
        for x in (-0.45, 0.45)
        for y in (-0.45, 0.45)
    ]
    return np.vstack([*legs, box(random, (0, 0, high), (long, wide, 0.04), 2600)])


def lamp(random: Random) -> np.ndarray:
    high = random.uniform(1.4, 1.7)
    return np.vstack(
        [
            tube(random, (0, 0, 0), 0.16, 0.16, 0.03, 500),
            tube(random, (0, 0, 0), 0.015, 0.015, high, 700),
            tube(random, (0, 0, high - 0.05), 0.24, 0.14, 0.3, 2200),
        ]
    )


def bookcase(random: Random) -> np.ndarray:
    wide, high = random.uniform(0.7, 1.0), random.uniform(1.7, 2.1)
    boards = [box(random, (0, 0, high * n / 5), (wide, 0.3, 0.02), 450) for n in range(6)]
    sides = [box(random, (x * wide / 2, 0, high / 2), (0.02, 0.3, high), 500) for x in (-1, 1)]
    books = [
        box(
            random,
            (random.uniform(-0.42, 0.42) * wide, 0, high * shelf / 5 + 0.12),
            (random.uniform(0.03, 0.06), 0.2, random.uniform(0.18, 0.26)),
            70,
        )
        for shelf in range(5)
        for _ in range(6)
    ]
    return np.vstack([*boards, *sides, *books])


def ball(random: Random) -> np.ndarray:
    points = random.normal(size=(3500, 3))
    return random.uniform(0.1, 0.13) * points / np.linalg.norm(points, axis=1, keepdims=True)


SCANS: Mapping[str, Callable[[Random], np.ndarray]] = {
    "chair": chair,
    "table": table,
    "lamp": lamp,
    "bookcase": bookcase,
    "basketball": ball,
}


def scan(make: Callable[[Random], np.ndarray], random: Random) -> bytes:
    """Return a scan as PLY, turned about its upright axis, with a little noise."""
    points = make(random)
    turn = random.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    points = points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    points = (points + random.normal(0, 0.003, points.shape)).astype("<f4")
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    return head.encode() + points.tobytes()


# Traces: a sensor on a wrist, 50 times a second, metres per square second, gravity included.


def moved(random: Random, *, steps_hz: float, strength: float, swing: float) -> np.ndarray:
    """Return ten seconds of acceleration, shape (500, 3)."""
    t = np.arange(500) / 50
    beat = 2 * np.pi * steps_hz * random.uniform(0.95, 1.05) * t + random.uniform(0, 6)
    pulse = np.maximum(0, np.sin(beat)) ** 3 - 0.4
    x = swing * np.sin(beat / 2) + 0.4 * strength * pulse
    y = 9.81 + strength * pulse + 0.3 * strength * np.sin(2 * beat)
    z = 0.6 * swing * np.cos(beat / 2 + 0.4)
    return np.stack([x, y, z], axis=1) + random.normal(0, 0.05 + 0.06 * strength, (500, 3))


TRACES: Mapping[str, Mapping[str, float]] = {
    "standing": {"steps_hz": 0.2, "strength": 0.05, "swing": 0.1},
    "walking": {"steps_hz": 1.9, "strength": 2.5, "swing": 1.5},
    "running": {"steps_hz": 2.8, "strength": 14.0, "swing": 6.0},
}


def trace(kind: Mapping[str, float], random: Random) -> bytes:
    """Return a trace as CSV."""
    rows = [
        f"{n / 50:.2f},{x:.3f},{y:.3f},{z:.3f}" for n, (x, y, z) in enumerate(moved(random, **kind))
    ]
    return ("time_s,ax [m/s2],ay [m/s2],az [m/s2]\n" + "\n".join(rows) + "\n").encode()
