import os
import subprocess
import sys
from pathlib import Path

from PIL import Image


def test_a_classification_writes_nothing_into_the_home_folder(tmp_path, mini_cache):
    # ONNX Runtime keeps a device id and a queue of events there, unless it is told not to.
    home = tmp_path / "home"
    home.mkdir()
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"},
        "HOME": str(home),
        "UNIBIND_CACHE": str(mini_cache),
    }
    command = [sys.executable, "-m", "unibind", "classify", "red.png", "--classes", "red,blue"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_only_one_file_imports_onnxruntime():
    package = Path(__file__).parents[1] / "unibind"
    found = [
        path.name
        for path in package.rglob("*.py")
        if "import onnxruntime" in path.read_text(encoding="utf-8")
    ]
    assert found == ["compiled.py"]
