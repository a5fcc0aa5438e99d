#!/usr/bin/env bash
# DPCENet on the trunk of this project, five folds (lineage form, first scan as support), and the
# identity test: what is lost when SQCA, the dual perspective, or both are taken out after training.
# Called again, it goes on. What follows the seed is for `dpcenet train`: --setting 2, --test-labels 1,4.
# Usage: [FOLDS="0 1"] experiments/dpcenet_own.sh PREPARED OUT [SEED [WORD ...]]
set -euo pipefail
data=$1 out=$2 seed=${3:-0}
further=("${@:4}")

score() {
  local run=$1 tag=$2
  shift 2
  [ -e "$run/summary-$tag.json" ] || dpcenet evaluate "$run" --support first "$@"
}

for fold in ${FOLDS:-0 1 2 3 4}; do
  run=$out/fold$fold-seed$seed
  [ -e "$run/summary-paper.json" ] || dpcenet train dpcenet/own --data "$data" --run "$run" \
    --fold "$fold" --scheme lineage --seed "$seed" --resume "${further[@]}"
  score "$run" paper
  score "$run" paper-near0 --neighbours 0
  score "$run" paper-near0-cut --neighbours 0 --cut checked
  score "$run" paper-near0-without-sqca --neighbours 0 --without sqca
  score "$run" paper-near0-without-dpce --neighbours 0 --without dpce
  score "$run" paper-near0-without-sqca-without-dpce --neighbours 0 --without sqca --without dpce
done
dpcenet report "$out"/fold?-seed"$seed" --out "$out"
