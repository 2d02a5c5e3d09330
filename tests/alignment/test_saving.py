"""What the artefacts of alignment have in common: saved, opened, and refused when damaged."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.heads import Head
from unibind.alignment.space import Space
from unibind.errors import ArtifactError
from unibind.types import SpaceId

KINDS = pytest.mark.parametrize("kind", ["centers", "head", "bare head", "space"])


@pytest.fixture
def made(kind, draw):
    if kind == "centers":
        lines = [draw(3, 8), draw(1, 8)]
        return ClassCenters.from_lines(
            ["a cat", "ein Käfer 🐞"],
            lines,
            space=SpaceId("s"),
            selection="medoids",
            scoring="log-sum-exp",
            centred=False,
        )
    if kind == "space":
        return Space(SpaceId("s"), "minilm-l6", "tower", {"image": "eye"}, draw(8))
    bare = Head(draw(6, 4), draw(4), draw(6), draw(6), SpaceId("s"), "e")
    if kind == "bare head":
        return bare
    return dataclasses.replace(
        bare,
        weight=np.asfortranarray(bare.weight),
        temperature=0.07,
        prior_weight=1.4,
        seen=("a cat", "ein Käfer 🐞"),
        seen_penalty=-0.1234567890123,
        references=draw(5, 4),
        params={"method": "ridge", "strength": 0.3, "n_items": 12},
        metrics={"held_out_reciprocal_rank": 0.5},
    )


@pytest.fixture
def saved(made, tmp_path) -> Path:
    made.save(tmp_path / "thing")
    return tmp_path / "thing"


@KINDS
def test_what_is_opened_is_what_was_saved(made, saved):
    opened = type(made).open(saved)
    for field in dataclasses.fields(made):
        before, after = getattr(made, field.name), getattr(opened, field.name)
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(after, before)
            assert after.dtype == before.dtype
        else:
            assert after == before, field.name


@KINDS
def test_saving_twice_gives_the_same_bytes(made, saved, tmp_path):
    made.save(tmp_path / "again")
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


@KINDS
def test_one_flipped_bit_anywhere_is_found(made, saved):
    for file in sorted(saved.glob("*.safetensors")):
        whole = file.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            flipped = bytearray(whole)
            flipped[place] ^= 4
            file.write_bytes(flipped)
            with pytest.raises(ArtifactError, match="hash differs"):
                type(made).open(saved)
        file.write_bytes(whole)
    type(made).open(saved)


@KINDS
def test_a_file_cut_short_is_found(made, saved):
    (file,) = saved.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="hash differs"):
        type(made).open(saved)


@KINDS
def test_an_unknown_version_is_named(made, saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(ArtifactError, match=r"format version 99, this unibind reads \d"):
        type(made).open(saved)


@KINDS
def test_another_kind_is_named(made, saved):
    other = Head if isinstance(made, ClassCenters) else ClassCenters
    with pytest.raises(ArtifactError, match=r"holds a '.*', a '.*' was needed"):
        other.open(saved)


@KINDS
def test_a_missing_one_is_called_missing(made, tmp_path):
    with pytest.raises(ArtifactError, match=r"no .* at .*make it first"):
        type(made).open(tmp_path / "nowhere")


@KINDS
def test_a_full_disk_is_an_error_of_ours(made, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", tmp_path]
    if os.name == "nt" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        (tmp_path / "ballast").write_bytes(bytes(4096))
        with pytest.raises(ArtifactError, match="no space left on the disk"):
            made.save(tmp_path / "thing")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("kind", ["centers", "head"])
def test_parents_are_kept(made, tmp_path):
    made.save(tmp_path / "thing", parents={"knowledge": "cafe"})
    manifest = json.loads((tmp_path / "thing" / "manifest.json").read_text())
    assert manifest["parents"] == {"knowledge": "cafe"}
    assert manifest["space"] == "s"
