#!/usr/bin/env bash
# Runs the tests and measurements that need a GPU, and makes a table of the results for docs/benchmarks.md.
#   bash tools/gpu_report.sh [WORK_DIR]
# Each piece leaves a file in WORK_DIR (default: work_dirs/gpu_report) and is not run again while its file is there. A
# piece that fails does not stop the others; the exit code is then 1. Without a GPU, every piece runs at a tiny size,
# which only shows that it works.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
work=$(mkdir -p "${1:-work_dirs/gpu_report}" && cd "${1:-work_dirs/gpu_report}" && pwd)
cd "$root"
batches='64 128 256 512' size=() failed=
if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo 'There is no GPU: each piece runs at a tiny size on the CPU, and its numbers mean nothing.'
  batches=64 size=(--tiny --device cpu --repeats 1 --batch-size 2)
fi

# piece FILE COMMAND ...: runs a command, which leaves the file, unless the file is there.
piece() {
  local file=$work/$1
  [ ! -e "$file" ] || { echo "$1: done before"; return; }
  echo "$1 ..."
  timeout 3600 "${@:2}" || { echo "$1: failed" >&2; failed+=" $1"; }
}

measure() { piece "$1.json" python tools/benchmark.py "${@:2}" "${size[@]}" --json "$work/$1.json"; }

piece tests.txt bash -c 'set -o pipefail; python -m pytest -q -m gpu tests | tee "$0.log" | tail -n 1 && tail -n 1 "$0.log" >"$0"' "$work/tests.txt"
for batch in $batches; do
  measure "pretrain_$batch" pretrain --batch-size "$batch"
  measure "pretrain_${batch}_compiled" pretrain --batch-size "$batch" --compile
done
for what in tokenizer segment data; do measure "$what" "$what"; done
piece profile.txt python tools/benchmark.py pretrain "${size[@]}" --profile "$work/profile.txt"
# The study goes on where it was, with data in data/cifar10 and data/camvid, and writes docs/evidence.md itself.
[ ${#size[@]} -gt 0 ] || python tools/evidence.py --preset gpu --jobs 8 --minutes 9 || failed+=' evidence'

python - "$work" >"$work/report.md" <<'PY'
import json, pathlib, sys
keys = ('ours', 'peer', 'ratio', 'memory_ratio')
print('| what | device |', ' | '.join(keys), '|')
print('|---|---' + '|---' * len(keys) + '|')
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.json')):
    result = json.loads(path.read_text())
    for way in (way for way in ('', 'slide_', 'whole_') if f'{way}ratio' in result):
        print(f'| {way}{path.stem} | {result["device"]} |', ' | '.join(f'{result.get(way + key, float("nan")):.3g}' for key in keys), '|')
PY
echo "the results are in $work: report.md, tests.txt and profile.txt"
[ -z "$failed" ] || die "failed:$failed. Run the command again to repeat these."
