#!/usr/bin/env bash
# Fixed views kept in a bank against fresh ones each episode, on fold 0 (lineage form, first scan
# as support): dpcenet/tuned with a frozen trunk.
# Usage: experiments/bank_against_exact.sh PREPARED TRUNK.safetensors OUT [STEPS]
set -euo pipefail
data=$1 weights=$2 out=$3 steps=${4:-200}

for seed in 0 1; do
  for views in 4 0; do
    run="$out/views$views-seed$seed"
    dpcenet train dpcenet/tuned --data "$data" --run "$run" --fold 0 --scheme lineage \
      --seed "$seed" --weights "$weights" --steps "$steps" --set "episodes.views=$views"
    for protocol in paper blind; do
      dpcenet evaluate "$run" --support first --protocol "$protocol"
    done
  done
done
