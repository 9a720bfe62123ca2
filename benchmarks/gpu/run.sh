#!/usr/bin/env bash
# Asks a machine with one GPU all that the kernels' authors want to know, without a network.
#
#     benchmarks/gpu/run.sh OUT [--total SECONDS] [--parts "layout:20 layers:70 ..."] [--small] [--data-dir DIR]
#
#   OUT           folder for answers.tar.gz: the figures and the log of every part, and report.md made of them
#   --total       seconds that the run may take (default: 580)
#   --parts       parts in their order, each with its seconds (default: all, what teaches most first)
#   --small       tiny sizes: a minute; without a GPU the kernels run in the simulator, and times mean nothing
#   --data-dir    folder with multi30k/ for the training step; random words of like lengths without it
#
# Needs Python 3.11 with this project's requirements and CuPy; PYTHON says which (default: python3). PyTorch with CUDA is
# the opponent, pytest runs the tests: without one of them its part says what is missing, and the others go on.
# Nothing on the machine is changed: clocks stay as they are. How a run goes: run.py. Exit code: 0; 1 if a part failed, or the
# layouts are not those believed, which ends the run; 2 if nothing could be run.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONUNBUFFERED=1 PYTHONPATH="$root:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" -m gpu.run "$@"
