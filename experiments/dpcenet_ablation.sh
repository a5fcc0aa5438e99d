#!/usr/bin/env bash
# One factor at a time from dpcenet/tuned, on fold 0 (lineage form, first scan as support).
# Usage: experiments/dpcenet_ablation.sh PREPARED TRUNK.safetensors OUT [STEPS]
set -euo pipefail
data=$1 weights=$2 out=$3 steps=${4:-500}

run() {
  local name=$1 preset=$2
  shift 2
  [ -e "$out/$name/summary-blind.json" ] && return 0
  dpcenet train "$preset" --data "$data" --run "$out/$name" --fold 0 --scheme lineage \
    --weights "$weights" --steps "$steps" --resume "$@"
  dpcenet evaluate "$out/$name" --support first
  dpcenet evaluate "$out/$name" --support first --protocol blind
}

small=(--set "options.encoder={name: resnet50, layout: os8, outputs: [layer3], frozen: true, weights: $weights}"
       --set episodes.views=4)
run tuned dpcenet/tuned
run finetuned-trunk dpcenet/tuned --set options.encoder.frozen=false --set episodes.views=0
run literal-attention dpcenet/tuned --set options.attention=literal
run no-class-weights dpcenet/tuned --set train.class_weights=[1,1] --set options.reverse_weights=[1,1]
run centred dpcenet/tuned --set options.centre=true
run no-decoder dpcenet/tuned --set options.decoder_width=0
run two-scales dpcenet/tuned --set "options.encoder.outputs=[layer3, layer4]"
run no-sqca-no-dpce dpcenet/tuned --set "options.sqca='off'" --set options.dpce=false
run paper-small dpcenet/paper "${small[@]}"
