"""The flags that the protocols' launchers share."""

from __future__ import annotations

from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from dpl_jax.cli import choose_workdir
from dpl_jax.runs.results import task_name
from dpl_jax.runtime.times import timestamp


def define_seeds(default: str = "1,2,3") -> flags.FlagHolder[list[int]]:
    """Defines --seeds=1,2,3."""
    return define_numbers("seeds", default, "Seeds, one search and one training each.")


def define_numbers(name: str, default: str, help_string: str) -> flags.FlagHolder[list[int]]:
    """Defines --NAME=1,2,3, whole numbers with commas between them."""
    serializer = flags.CsvListSerializer(",")
    return flags.DEFINE(_Numbers(), name, default, help_string, serializer=serializer)


def runs_folder(given: str | None, protocol: str, config: ConfigDict) -> Path:
    """The folder that --workdir names, or a new one, ``runs/digits-fewshot-date-time``, told."""
    folder = choose_workdir(f"runs/{task_name(config.data)}-{protocol}-{timestamp()}")
    if given is None:
        print(f"The same command with --workdir={folder} goes on where this one stops.", flush=True)
    return folder


class _Numbers(flags.ArgumentParser):
    syntactic_help = "whole numbers with commas between them"

    def parse(self, argument: str | list[int]) -> list[int]:
        if isinstance(argument, list):
            return argument
        try:
            return [int(number) for number in argument.split(",")]
        except ValueError as error:
            raise ValueError(f"not {self.syntactic_help}, such as 1,2,3") from error
