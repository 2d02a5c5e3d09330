"""Broken files for every decoder: no crash, no memory above the cap, never anything but a no.

Run for seconds by test_fuzz.py and for minutes each by ``scripts/prove fuzz``:

    python tests/service/fuzzing.py --seconds 120
"""

import argparse
import hashlib
import io
import json
import random
import struct
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from unibind.modalities.registry import installed
from unibind.service.decoding import DecoderPool
from unibind.service.refusals import Refusal

MEMORY_BYTES = 512 * 2**20
TIME_S = 20.0
_FATAL = {"decoder_died", "decoding_too_slow", "decoder_failed"}


def picture(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
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


def packed_sound(kind: str) -> bytes:
    """Return a sound as FLAC, Ogg Vorbis or MP3."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(np.arange(4000) / 9), 16_000, format=kind)
    return buffer.getvalue()


def clip(kind: str, codec: str) -> bytes:
    """Return eight small frames in a container."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for n in range(8):
            pixels = np.full((32, 48, 3), 25 * n, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def survey() -> bytes:
    """Return points as LAS."""
    import laspy

    scan = laspy.create(file_version="1.2", point_format=3)
    scan.x, scan.y, scan.z = np.random.default_rng(0).random((3, 64))
    buffer = io.BytesIO()
    scan.write(buffer)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def parquet() -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    times = np.arange(80) / 50
    pd.DataFrame({"time_s": times, "x": np.sin(times), "y": np.cos(times)}).to_parquet(buffer)
    return buffer.getvalue()


def dat() -> bytes:
    """Return events as Prophesee's DAT."""
    n = np.arange(200, dtype=np.uint32)
    words = np.stack([n * 10, (n % 9) | ((n % 7) << 14) | ((n % 2) << 28)], axis=1).astype("<u4")
    return b"% Data file containing CD events.\n% Version 2\n" + b"\x00\x08" + words.tobytes()


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


_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
_ROWS = "\n".join(f"{x} {y} {z}" for x, y, z in _CORNERS)
XYZ = f"{_ROWS}\n".encode()
OFF = f"OFF\n8 2 0\n{_ROWS}\n3 0 1 2\n3 5 6 7\n".encode()
OBJ = ("".join(f"v {x} {y} {z}\n" for x, y, z in _CORNERS) + "f 1 2 3\nf 6 7 8\n").encode()
PCD = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
    f"WIDTH 8\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 8\nDATA ascii\n{_ROWS}\n"
).encode()

SEEDS: Mapping[str, tuple[Callable[[], bytes], ...]] = MappingProxyType(
    {
        "image": (lambda: picture("PNG"), lambda: picture("JPEG"), lambda: picture("TIFF"),
                  lambda: picture("WEBP"), lambda: picture("BMP"), lambda: picture("PPM"),
                  lambda: picture("ICO"), lambda: picture("JPEG2000"), lambda: picture("AVIF"),
                  animation),
        "audio": (sound, lambda: packed_sound("FLAC"), lambda: packed_sound("OGG"),
                  lambda: packed_sound("MP3")),
        "pointcloud": (ply, stl, survey, lambda: PCD, lambda: OFF, lambda: OBJ, lambda: XYZ,
                       lambda: npy(np.random.default_rng(0).normal(size=(64, 3)))),
        "timeseries": (csv, parquet, lambda: npy(np.random.default_rng(0).normal(size=(200, 3))),
                       lambda: npz(x=np.random.default_rng(0).normal(size=(200, 3)))),
        "video": (animation, lambda: clip("mp4", "mpeg4"), lambda: clip("avi", "mpeg4"),
                  lambda: clip("webm", "libvpx")),
        "thermal": (lambda: npy(20 + np.random.default_rng(0).random((24, 32))),
                    lambda: picture("TIFF", "L"), lambda: picture("PNG", "L")),
        "event": (dat, lambda: npy(np.arange(800).reshape(200, 4) % (1000, 9, 7, 2)),
                  lambda: b"t,x,y,p\n" + b"".join(b"%d,%d,%d,1\n" % (n, n % 9, n % 7)
                                                  for n in range(200))),
        "text": (lambda: "a red kettle \u00e9".encode(),),
    }
)  # fmt: skip
"""A few small good files of each modality; a modality that is not named is fed noise alone."""


OPTIONS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "timeseries": {"rate_hz": 50},
        "thermal": {"unit": "celsius", "low_c": 0, "high_c": 50},
        "event": {"time_unit": "us", "width": 64, "height": 64},
    }
)
"""What is said of every second file, of modalities whose files do not say it themselves."""


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
        options = moments.choice([{}, OPTIONS.get(modality, {})])
        try:
            pool.read(modality, content, options)
            told["read"] += 1
        except Refusal as refusal:
            told[refusal.code] += 1
            if refusal.code in _FATAL or "did not foresee" in refusal.message:
                told[f"{refusal.code} of {kept(modality, content)}"] += 1
    return told


def kept(modality: str, content: bytes) -> Path:
    """Keep a file that a reader did not foresee, to be looked at."""
    name = f"unibind-fuzz-{modality}-{hashlib.sha256(content).hexdigest()[:12]}"
    place = Path(tempfile.gettempdir()) / name
    place.write_bytes(content)
    return place


def memory_of(pool: DecoderPool) -> dict[str, int]:
    """Return what its decoders hold now and held at most, in MiB, where the system says it."""
    told: dict[str, int] = {}
    for pid in pool.pids:
        status = Path(f"/proc/{pid}/status")
        if not status.exists():
            continue
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                told[name] = max(told.get(name, 0), int(value.split()[0]) // 1024)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="for each modality")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", nargs="*", default=sorted(installed()), help="modalities")
    asked = parser.parse_args()
    result = {}
    for name in asked.of:  # each with a decoder of its own, so that its memory is its own
        pool = DecoderPool(1, memory_bytes=MEMORY_BYTES, time_s=TIME_S)
        told = fuzz(pool, name, seconds=asked.seconds, seed=asked.seed)
        result[name] = dict(told.most_common()) | {"memory (MiB)": memory_of(pool)}
        pool.close()
    print(json.dumps(result, indent=2))  # noqa: T201
    raise SystemExit(any(" of " in each for told in result.values() for each in told))


if __name__ == "__main__":
    main()
