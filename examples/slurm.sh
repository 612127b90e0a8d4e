#!/bin/bash
# One run on the GPUs of one node or of several; it goes back to the queue until it has finished.
#
#   sbatch --gpus-per-node=4 examples/slurm.sh \
#       dpl-search --config=caltech101 --config.data.root=DATA --workdir=RUN
#   sbatch --nodes=2 --ntasks=8 --ntasks-per-node=4 --gpus-per-node=4 examples/slurm.sh \
#       dpl-search --config=caltech101 --config.data.root=DATA --workdir=RUN --coordinator=auto
#
# One node needs one process; of several nodes each GPU gets one (docs/devices.md).
# The command needs --workdir, in which it goes on. Submit from where the package is installed.
# Two minutes before its time ends the run gets SIGTERM, saves a checkpoint and exits with 75.
# Many runs: dpl-sweep --executor=slurm.
#SBATCH --job-name=dpl
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

if [[ $# -eq 0 ]]; then
  echo "usage: sbatch examples/slurm.sh COMMAND --workdir=RUN ..." >&2
  exit 2
fi

srun "$@"
code=$?
if [[ $code -eq 75 ]]; then # stopped with a checkpoint: docs/reliability.md
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
