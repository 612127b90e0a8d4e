"""A Slurm and a cell that stand in for the real ones: small programs in a folder of the path."""

from __future__ import annotations

import sys
from pathlib import Path

SBATCH = r"""
# Keeps what it got; every third call fails, and every sixth has lost only its answer.
with open(HERE / "calls", "a") as file:
    file.write("x")
calls = (HERE / "calls").stat().st_size
script = Path(sys.argv[1]).read_text()
if calls % 6:
    if calls % 3 == 0:
        sys.exit("sbatch: error: Batch job submission failed: Unable to contact controller")
name = re.search(r"--job-name=(\S+)", script)[1]
last, limit = map(int, re.search(r"--array=0-(\d+)%(\d+)", script).groups())
with open(HERE / "arrays", "a") as file:
    print(last + 1, limit, file=file)
for index in range(last + 1):
    (HERE / "queue" / f"{calls:04}_{index}").write_text(f"{name}\n{limit}\n{sys.argv[1]}")
if calls % 6 == 0:
    sys.exit("sbatch: error: Socket timed out on send/recv operation")
print("Submitted batch job", calls)
"""

SQUEUE = r"""
# Lists the queue, then runs of every array what its limit allows: jobs end between two looks.
arrays = {}
for path in sorted((HERE / "queue").iterdir()):
    name, limit, script = path.read_text().splitlines()
    array = arrays.setdefault(path.name.split("_")[0], [])
    running = len(array) < int(limit)
    array.append((path, script))
    print(path.name, "RUNNING" if running else "PENDING", name, sep="|")
    if running:
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": path.name.split("_")[1]}
        subprocess.run(["bash", script], env=environment)
        path.unlink()
"""

CELL = r"""
# Three stages, one file each; dies at random before, between and after them, never twice alike.
import json, zlib
with open(sys.argv[1]) as file:
    plan = json.load(file)
dataset, shots, seed = plan["cells"][int(sys.argv[2])]
folder = f"{plan['workdir']}/{dataset}/shots{shots}/seed{seed}/"
os.makedirs(folder + "train", exist_ok=True)
with open(folder + "starts", "a") as file:
    file.write("x")
starts = os.path.getsize(folder + "starts")
for stage in ("search", "training", "evaluation"):
    if zlib.crc32(f"{shots} {seed} {starts} {stage}".encode()) % 100 < 15:
        os.kill(os.getpid(), 9)
    if not os.path.exists(folder + stage):
        open(folder + stage, "w").close()
        with open(folder + "stages", "a") as file:
            print(stage, file=file)
with open(folder + "train/results.json", "w") as file:
    file.write('{"evaluations": {"test": {}}}')
"""

HEAD = """#!{python} -IS
import os, sys
"""
MORE = """
import re, subprocess
from pathlib import Path
HERE = Path(__file__).parent
"""


def write_command(path: Path, body: str) -> None:
    """A program in Python that starts quickly."""
    more = MORE if "HERE" in body else ""
    path.write_text(HEAD.format(python=sys.executable) + more + body)
    path.chmod(0o755)
