#!/usr/bin/env bash
# The shipped network, untrained on the data, on all five folds (lineage form, first scan as support).
# Usage: [FOLDS="0 1"] experiments/shipped.sh PREPARED OUT
set -euo pipefail
data=$1 out=$2

for fold in ${FOLDS:-0 1 2 3 4}; do
  run=$out/fold$fold
  dpcenet train incontext/shipped --data "$data" --run "$run" --fold "$fold" --scheme lineage --resume
  dpcenet evaluate "$run" --support first --neighbours 0
  dpcenet evaluate "$run" --support first
  dpcenet evaluate "$run" --support first --as-volume
  dpcenet evaluate "$run" --support first --protocol blind
done
dpcenet report "$out"/fold? --out "$out"
