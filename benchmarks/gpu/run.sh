#!/usr/bin/env bash
# Asks a machine with one GPU all that the kernels' authors want to know, in less than ten minutes and without a network.
#
#     benchmarks/gpu/run.sh OUT [--small] [--data-dir DIR] [--parts "lstm training_step"]
#
#   OUT           folder for the answers: PART.json and PART.log of every part, report.md made of them
#   --small       tiny sizes: a minute; without a GPU the kernels run in the simulator, and times mean nothing
#   --data-dir    folder with multi30k/ for the training step; random words of like lengths without it
#   --parts       only these
#
# Needs Python 3.11 with this project's requirements and CuPy; PYTHON says which (default: python3). PyTorch with CUDA is
# the opponent, pytest runs the tests: without one of them its part says what is missing, and the others go on.
# Every part is a process with a time budget and writes its JSON after every row. One that fails, hangs or is ended
# loses nothing of what it has found; the next one starts. Nothing on the machine is changed: clocks stay as they are.
# Exit code: 0, 1 if a part failed, 2 if nothing could be run.
set -u

TOTAL=580 GRACE=15 # seconds; a part that is still running GRACE seconds after its budget is ended
# In the order of what teaches most: a wrong belief makes all that follows it void.
BUDGETS="environment:60 layout:40 device_tests:80 ceilings:45 lstm:130 training_step:110 decoding:40 ablations:60"

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
usage="usage: benchmarks/gpu/run.sh OUT [--small] [--data-dir DIR] [--parts \"PART ...\"]"
out="" parts="" small="" options=()
while [ $# -gt 0 ]; do
  case $1 in
    --small) small=1 options+=(--small) ;;
    --data-dir | --parts)
      [ $# -gt 1 ] || { echo "$usage" >&2; exit 2; }
      if [ "$1" = --parts ]; then parts=" $2 "; else options+=(--data-dir "$(cd "$2" && pwd)") || exit 2; fi
      shift ;;
    -*) echo "$usage" >&2; exit 2 ;;
    *) out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { echo "$usage" >&2; exit 2; }
for part in $parts; do
  case " $BUDGETS " in *" $part:"*) ;; *) echo "no part $part; there are, with seconds: $BUDGETS" >&2; exit 2 ;; esac
done
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2

export PYTHONUNBUFFERED=1 PYTHONPATH="$root:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
if ! "$python" -c 'import cupy, sys; sys.exit(not cupy.cuda.is_available())' 2>/dev/null; then
  if [ -z "$small" ]; then
    echo "CuPy finds no GPU here (or there is no CuPy); --small runs tiny sizes in the simulator" >&2
    exit 2
  fi
  export PYTHONPATH="$root/tests/cuda_sim/standin:$PYTHONPATH"
fi

failed=0
for entry in $BUDGETS; do
  part=${entry%%:*} budget=${entry##*:} left=$((TOTAL - GRACE - SECONDS))
  case "${parts:- $part }" in *" $part "*) ;; *) continue ;; esac
  if [ "$left" -lt 5 ]; then
    echo "== $part: no time left"
    continue
  fi
  [ "$budget" -le "$left" ] || budget=$left
  echo "== $part (at most $budget s, $SECONDS s after the start)"
  rm -f "$out/$part.json"
  timeout --kill-after=5 $((budget + GRACE)) \
    "$python" -m "gpu.$part" "$out" --seconds "$budget" "${options[@]}" 2>&1 | tee "$out/$part.log"
  code=${PIPESTATUS[0]}
  if [ "$code" -ne 0 ]; then
    echo "== $part ended with code $code"
    failed=1
  fi
done
echo "== report ($SECONDS s after the start)"
"$python" -m gpu.report "$out" || failed=1
exit $failed
