#!/usr/bin/env bash
# Runs the tests and measurements that need a GPU, and writes the results into docs/benchmarks.md, or the page PAGE.
#   bash tools/gpu_report.sh [WORK_DIR]
# Each piece leaves a file in WORK_DIR (default: work_dirs/gpu_report) and is not run again while its file is there. A
# piece that fails does not stop the others; the exit code is then 1. Without a GPU, every piece runs at a tiny size,
# which only shows that it works, and no page is written unless PAGE names one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
work=$(mkdir -p "${1:-work_dirs/gpu_report}" && cd "${1:-work_dirs/gpu_report}" && pwd)
page=${PAGE:+$(realpath "$PAGE")}
cd "$root"
batches='64 128 256 512' size=() failed=
if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  page=${page:-docs/benchmarks.md}
else
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

python - "$work" "$page" <<'PY'
import json, pathlib, sys
work, page = map(pathlib.Path, sys.argv[1:])
keys = ('device', 'batch_size', 'amp', 'ours', 'peer', 'ratio', 'ours_memory_gib', 'memory_ratio')
lines = [f'| what | {" | ".join(keys)} |', '|---' * (len(keys) + 1) + '|']
for path in sorted(work.glob('*.json')):
    result = json.loads(path.read_text())
    for way in (way for way in ('', 'slide_', 'whole_') if f'{way}ratio' in result):
        cells = [result.get(way + key, result.get(key, '')) for key in keys]
        cells = [f'{cell:.3g}' if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(f'| {path.stem} {way.rstrip("_")}'.rstrip() + f' | {" | ".join(cells)} |')
for path in sorted(work.glob('*.txt')):
    lines += ['', '```text', path.read_text().rstrip(), '```']
text = '\n'.join(['By `bash tools/gpu_report.sh`. `ours` and `peer` are images per second.', '', *lines, ''])
(work / 'report.md').write_text(text)
if sys.argv[2]:
    before, _, rest = page.read_text().partition('## On a GPU\n')
    page.write_text(f'{before}## On a GPU\n\n{text}{rest[rest.find(chr(10) + "## "):] if chr(10) + "## " in rest else ""}')
PY
echo "the results are in $work/report.md${page:+ and $page}"
[ -z "$failed" ] || die "failed:$failed. Run the command again to repeat these."
