"""Measures dpl_jax beside other ways in one process, and writes the tables to the documentation.

    python -m benchmarks                  # everything, at ViT-B/16's sizes
    python -m benchmarks growth prefix    # some of it
    python -m benchmarks --quick          # small sizes, to see that all runs; writes nothing

The machine should have nothing else to do. How fast images are read: python -m benchmarks.loader.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable

import jax

from benchmarks.ablation import members
from benchmarks.memory import memory
from benchmarks.rates import flops, prefix
from benchmarks.report import machine, write
from benchmarks.section import FULL, QUICK, Scale, Section
from benchmarks.steps import baselines, growth
from dpl_jax.members.groups import use_all_cores
from dpl_jax.runtime.compilation import use_compilation_cache
from dpl_jax.summary.table import print_table

BENCHMARKS: dict[str, Callable[[Scale], list[Section]]] = {
    "growth": growth,
    "prefix": prefix,
    "flops": flops,
    "memory": memory,
    "members": members,
    "baselines": baselines,
}


def main() -> None:
    """Runs the benchmarks that the command line names, each one's tables as soon as it is done."""
    arguments = _arguments()
    use_all_cores()  # for the members; everything else runs on the first device
    print(machine(), flush=True)
    # Shapes are compiled anew only where that is what is measured (members).
    use_compilation_cache()
    for name in arguments.names or BENCHMARKS:
        sections = BENCHMARKS[name](QUICK if arguments.quick else FULL)
        for section in sections:
            print_table(section.title, ("what", "measured", "target"), section.rows)
        if not arguments.quick:
            write(name, jax.default_backend(), sections)
        jax.clear_caches()
        gc.collect()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is written")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    return arguments


if __name__ == "__main__":
    main()
