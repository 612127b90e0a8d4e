#!/bin/bash
# The grid of a sweep by GNU parallel, on the GPUs of this machine: GPUS=4, or 1 if it is not set.
#
#   GPUS=4 bash examples/sweep-parallel.sh --datasets=caltech101,dtd --set=data.root=DATA \
#       --workdir=RUNS
#
# DRY_RUN=--dry-run prints the commands instead. Stopped and started again, it goes on.
set -euo pipefail

dpl-sweep "$@" --print_cells |
  parallel ${DRY_RUN:+"$DRY_RUN"} --jobs "${GPUS:-1}" --colsep '\t' --retries 3 \
    "CUDA_VISIBLE_DEVICES=\$(({%} - 1)) dpl-sweep ${*@Q} --cell={1}"
