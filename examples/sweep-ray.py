"""The grid of a sweep on a Ray cluster, a GPU for each cell; RUNS lies on a shared file system.

python examples/sweep-ray.py --datasets=caltech101,dtd --set=data.root=DATA --workdir=RUNS
"""

import subprocess
import sys

import ray


@ray.remote(num_gpus=1, max_retries=3)  # where a machine is lost, another one goes on
def run_cell(command: list[str]) -> int:
    """Runs a cell and returns its exit code; one that was stopped (75) goes on here."""
    for _ in range(3):
        code = subprocess.run(command).returncode
        if code != 75:
            break
    return code


if __name__ == "__main__":
    sweep = ["dpl-sweep", *sys.argv[1:]]
    listed = subprocess.run(
        [*sweep, "--print_cells"], stdout=subprocess.PIPE, text=True, check=True
    )
    cells = [line.split("\t")[0] for line in listed.stdout.splitlines()]
    ray.init()
    codes = ray.get([run_cell.remote([*sweep, f"--cell={cell}"]) for cell in cells])
    sys.exit(f"{sum(map(bool, codes))} cells failed" if any(codes) else 0)
