#!/usr/bin/env bash
# The published schedules: every method with its own trunk, five folds, three seeds, for as long as
# there is a machine. Called again, it goes on from the checkpoints; when all is done, it writes the
# report. FILE is the trunk (`dpcenet download deeplabv3_resnet101_coco --out WEIGHTS`); what else
# `dpcenet benchmark` takes may follow.
#   MINUTES=600 experiments/published.sh table1 OUT FILE --data chaos=PREPARED --data sabs=PREPARED
set -euo pipefail
plan=$1 out=$2 weights=$3
shift 3

code=0
timeout "${MINUTES:-600}m" dpcenet benchmark "$plan" --own-trunks --out "$out" \
  --weights "resnet101=$weights" "$@" || code=$?
if [ "$code" = 124 ]; then
  echo "time is over: run the same command again to go on"
  exit 0
fi
[ "$code" = 0 ] || exit "$code"
dpcenet report "$out" --out "$out/report" --published
