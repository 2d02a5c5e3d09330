import logging

import numpy as np
import pytest
import torch
from torch import nn

from unibind.encoders.compiled import Input, compile_network, n_threads, side_by_side

INPUTS = (Input("values", np.float32, ("B", 3)),)


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, values):
        return self.scale * values**2


class Unexportable(Square):
    def forward(self, values):
        return super().forward(
            torch.linalg.eigvalsh(values[:, :, None] * torch.eye(3))[:, [0, 1, 2]]
        )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def built():
    return []


@pytest.fixture
def compiled(built):
    def make(fingerprint="one"):
        def build():
            built.append(fingerprint)
            return Square()

        return compile_network(build, name="square", fingerprint=fingerprint, inputs=INPUTS)

    return make


def values(n):
    return np.random.default_rng(0).standard_normal((n, 3), dtype=np.float32)


def check(forward):
    for n in (1, 2, 5):
        np.testing.assert_allclose(forward(values(n)), [1, 2, 3] * values(n) ** 2, rtol=1e-6)


def test_a_network_is_exported_once(compiled, built):
    check(compiled())
    check(compiled())
    assert built == ["one"]


def test_other_weights_are_another_network(compiled, built):
    compiled("one")
    compiled("two")
    assert built == ["one", "two"]


def test_another_torch_exports_anew(compiled, built, monkeypatch):
    compiled()
    monkeypatch.setattr("unibind.encoders.compiled.version", lambda package: "99.0")
    check(compiled())
    assert built == ["one", "one"]


def test_a_damaged_export_is_made_again_with_a_warning(compiled, built, own_cache, caplog):
    compiled()
    (file,) = own_cache.rglob("network.onnx")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    check(compiled())
    check(compiled())
    assert built == ["one", "one"]
    assert "unusable, it is made again" in caplog.text


def test_a_half_written_export_is_made_again(compiled, built, own_cache):
    compiled()
    (manifest,) = own_cache.rglob("manifest.json")
    manifest.unlink()
    check(compiled())
    assert built == ["one", "one"]


def test_a_cache_that_cannot_be_written_costs_the_export_each_time(
    compiled, built, own_cache, caplog
):
    (own_cache / "networks").write_text("a file where a folder should be")
    check(compiled())
    check(compiled())
    assert built == ["one", "one"]
    assert "not kept" in caplog.text


def test_what_cannot_be_exported_runs_in_torch(caplog):
    caplog.set_level(logging.WARNING)
    forward = compile_network(Unexportable, name="odd", fingerprint="one", inputs=INPUTS)
    expected = [1, 2, 3] * np.sort(values(4), axis=1) ** 2
    np.testing.assert_allclose(forward(values(4)), expected, rtol=1e-5)
    assert "runs in torch, slower" in caplog.text


@pytest.mark.parametrize("n", [0, 1, 4, 5, 23])
def test_batches_side_by_side_come_back_in_their_order(n):
    sizes = []

    def encode(batch):
        sizes.append(len(batch))
        return np.array([[item, -item] for item in batch], np.float32)

    features = side_by_side(encode, range(n), batch_size=4, dim=2)
    np.testing.assert_array_equal(
        features, [[item, -item] for item in range(n)] or np.empty((0, 2))
    )
    assert sum(sizes) == n
    assert all(size <= 4 for size in sizes)


def test_threads_are_those_asked_for_or_the_cores_we_have(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert n_threads() == 3
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert n_threads() >= 1
