"""The examples, installed as a stranger installs them, and tested by their own tests."""

import json
from pathlib import Path

import pytest
from installing import install, run

from unibind import weights

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    "name", sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))
)
def test_an_example_installs_and_passes_its_tests(name, tmp_path):
    weights.fetch("efficientnet-lite0")
    weights.fetch("imagenet-labels")
    package = EXAMPLES / name
    env = install(package, tmp_path / "site")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    out = run("pytest", *options, str(package / "tests"), env=env, folder=tmp_path)
    assert "[100%]" in out
    rows = json.loads(run("unibind", "plugins", "--check", "--json", env=env, folder=tmp_path))
    assert {row["group"] for row in rows if row["package"].startswith(f"unibind-{name} ")} == {
        "unibind.modalities",
        "unibind.encoders",
    }
