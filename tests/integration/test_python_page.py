"""docs/python.md is true: its blocks run as they stand, in their order, beside the modules of docs/ops.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from net_support import PATIENCE

import zaudio

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
# One process for all, which imports once; each block has names of its own.
PROGRAM = """
import sys
for path in sys.argv[1:]:
    with open(path) as file:
        block = file.read()
    code = compile(block, path, "exec")
    if "bind=" not in block:  # else it waits for workers from elsewhere
        exec(code, {"__name__": "__main__"})
"""
MODULES = FENCE.findall((ROOT / "docs" / "ops.md").read_text(encoding="utf-8"))


def test_the_page_has_blocks_and_the_modules_that_they_import():
    names = {match[1] for module in MODULES if (match := re.match(r"# (\w+)\.py\n", module))}
    assert {"filling", "my_ops"} <= names
    assert len(BLOCKS) >= 8


@pytest.mark.timeout(240)
def test_the_blocks_run_in_their_order(tmp_path):
    for module in MODULES:
        if match := re.match(r"# (\w+)\.py\n", module):
            (tmp_path / f"{match[1]}.py").write_text(module)
    zaudio.generate(tmp_path / "take.raw", seconds=2)
    (tmp_path / "take.pcm").write_bytes((tmp_path / "take.raw").read_bytes())
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
    for number, block in enumerate(BLOCKS, 1):
        (tmp_path / f"block{number}").write_text(block)
    command = [sys.executable, "-c", PROGRAM, *(f"block{number}" for number in range(1, len(BLOCKS) + 1))]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "the peak was" in said
    assert "88200 frames of 1 channel at 44100 Hz in f32le loudnorm: " in said
    assert re.search(r"^-?\d+\.\d+ LUFS$", said, re.MULTILINE)
