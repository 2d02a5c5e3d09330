"""Broken files for every decoder: no crash, no memory above the cap, never anything but a no.

Run for seconds by test_fuzz.py and for minutes each by ``scripts/prove fuzz``:

    python tests/service/fuzzing.py --seconds 120
"""

import argparse
import io
import json
import random
import struct
import time
import wave
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

from unibind.modalities.registry import installed
from unibind.service.decoding import DecoderPool
from unibind.service.refusals import Refusal

MEMORY_BYTES = 512 * 2**20
TIME_S = 20.0
_FATAL = {"decoder_died", "decoding_too_slow", "decoder_failed"}


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def animation() -> bytes:
    frames = [Image.new("RGB", (24, 24), (40 * n, 9, 99)) for n in range(6)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        samples = 8000 * np.sin(np.arange(4000) / 9)
        out.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def ply() -> bytes:
    points = np.random.default_rng(0).normal(size=(64, 3)).astype("<f4")
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 64\n"
    head += "property float x\nproperty float y\nproperty float z\nend_header\n"
    return head.encode() + points.tobytes()


def csv() -> bytes:
    rows = [f"{n / 50},{np.sin(n / 3):.4f},{np.cos(n / 3):.4f}" for n in range(80)]
    return ("time_s,x,y\n" + "\n".join(rows) + "\n").encode()


def stl() -> bytes:
    triangle = struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)
    return b"\0" * 80 + struct.pack("<I", 4) + 4 * triangle


SEEDS: Mapping[str, tuple[Callable[[], bytes], ...]] = MappingProxyType(
    {
        "image": (lambda: picture("PNG"), lambda: picture("JPEG"), lambda: picture("TIFF"),
                  lambda: picture("WEBP"), lambda: picture("BMP"), animation),
        "audio": (sound,),
        "pointcloud": (ply, stl, lambda: npy(np.random.default_rng(0).normal(size=(64, 3)))),
        "timeseries": (csv, lambda: npy(np.random.default_rng(0).normal(size=(200, 3)))),
        "video": (animation,),
        "thermal": (lambda: npy(20 + np.random.default_rng(0).random((24, 32))),
                    lambda: picture("TIFF")),
        "event": (lambda: b"t,x,y,p\n" + b"".join(b"%d,%d,%d,1\n" % (n, n % 9, n % 7)
                                                  for n in range(200)),),
        "text": (lambda: "a red kettle \u00e9".encode(),),
    }
)  # fmt: skip
"""A few small good files of each modality; a modality that is not named is fed noise alone."""


def broken(content: bytes, moments: random.Random) -> bytes:
    """Return a file after some of the things that go wrong with files, or are made to."""
    changed = bytearray(content)
    for _ in range(moments.choice([1, 1, 2, 4, 16])):
        kind = moments.randrange(6)
        place = moments.randrange(len(changed) + 1)
        if kind == 0 and changed:
            changed[place % len(changed)] = moments.choice([0, 1, 127, 128, 255])
        elif kind == 1 and changed:
            changed[place % len(changed)] ^= 1 << moments.randrange(8)
        elif kind == 2:
            del changed[place : place + moments.randrange(64)]
        elif kind == 3:
            changed[place:place] = moments.randbytes(moments.randrange(32))
        elif kind == 4:  # a number in a header that says how much is to come
            number = moments.choice([2**31 - 1, 2**32 - 1, 2**16, 2**24, 0])
            order = moments.choice(["<I", ">I"])
            changed[place : place + 4] = struct.pack(order, number)
        else:
            start = moments.randrange(len(changed) + 1)
            changed[place:place] = changed[start : start + moments.randrange(256)]
    return bytes(changed)


def fuzz(pool: DecoderPool, modality: str, *, seconds: float, seed: int = 0) -> Counter:
    """Feed a decoder broken files for so long; return what came of them, by refusal's code."""
    moments = random.Random(f"{modality} {seed}")
    seeds = [make() for make in SEEDS.get(modality, ())] or [moments.randbytes(500)]
    told: Counter = Counter()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        content = broken(moments.choice(seeds), moments)
        try:
            pool.read(modality, content, {})
            told["read"] += 1
        except Refusal as refusal:
            told[refusal.code] += 1
            if refusal.code in _FATAL:
                told[f"{refusal.code}: {content[:64].hex()}"] += 1
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="for each modality")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    pool = DecoderPool(1, memory_bytes=MEMORY_BYTES, time_s=TIME_S)
    result = {
        name: dict(fuzz(pool, name, seconds=asked.seconds, seed=asked.seed))
        for name in sorted(installed())
    }
    pool.close()
    print(json.dumps(result, indent=2))  # noqa: T201
    raise SystemExit(any(_FATAL & set(told) for told in result.values()))


if __name__ == "__main__":
    main()
