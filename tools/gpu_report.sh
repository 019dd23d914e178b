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
if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  page=${page:-docs/benchmarks.md} size=()
else
  echo 'There is no GPU: each piece runs at a tiny size on the CPU, and its numbers mean nothing.'
  size=(--tiny --device cpu --repeats 1 --batch-size 2)
fi
failed=

# piece FILE COMMAND ...: runs a command, which leaves the file, unless the file is there.
piece() {
  local file=$work/$1
  shift
  [ ! -e "$file" ] || { echo "$(basename "$file"): done before"; return; }
  echo "$(basename "$file") ..."
  timeout 3600 "$@" || { echo "$(basename "$file"): failed" >&2; failed+=" $(basename "$file")"; }
}

run_gpu_tests() {
  python -m pytest -q -m gpu tests >"$1.log" 2>&1 || [ $? -eq 5 ] || { tail -n 20 "$1.log" >&2; return 1; }
  tail -n 1 "$1.log" >"$1"
}
export -f run_gpu_tests

piece tests.txt bash -c 'run_gpu_tests "$1"' _ "$work/tests.txt"
for batch in 64 128 256 512; do
  [ ${#size[@]} -eq 0 ] || [ "$batch" = 64 ] || continue
  for compile in '' --compile; do
    name=pretrain_$batch${compile:+_compiled}.json
    piece "$name" python tools/benchmark.py pretrain --batch-size "$batch" $compile "${size[@]}" --json "$work/$name"
  done
done
for what in tokenizer segment data; do
  piece "$what.json" python tools/benchmark.py "$what" "${size[@]}" --json "$work/$what.json"
done
piece profile.txt python tools/benchmark.py pretrain "${size[@]}" --profile "$work/profile.txt"

python - "$work" "$page" <<'PY'
import json, pathlib, sys
work, page = map(pathlib.Path, sys.argv[1:])
results = {path.stem: json.loads(path.read_text()) for path in sorted(work.glob('*.json'))}
keys = ('device', 'batch_size', 'amp', 'ours', 'peer', 'ratio', 'ours_memory_gib', 'memory_ratio', 'share_of_matmul_rate')
rows = [{'what': name, **{key: result.get(f'{prefix}{key}', result.get(key, '')) for key in keys}}
        for name, result in results.items() for prefix in ('', 'slide_', 'whole_') if f'{prefix}ratio' in result
        for name in [f'{name} {prefix.rstrip("_")}'.strip()]]
cell = lambda value: f'{value:.3g}' if isinstance(value, float) else str(value)
table = [f'| what | {" | ".join(keys)} |', '|---' * (len(keys) + 1) + '|']
table += ['| ' + ' | '.join(map(cell, row.values())) + ' |' for row in rows]
for name in ('tests', 'profile'):
    if (work / f'{name}.txt').exists():
        table += ['', '```text', (work / f'{name}.txt').read_text().rstrip(), '```']
text = '\n'.join(['By `bash tools/gpu_report.sh`. `ours` and `peer` are images per second.', '', *table, ''])
(work / 'report.md').write_text(text)
if sys.argv[2]:
    before, heading, rest = page.read_text().partition('## On a GPU\n')
    following = rest[rest.find('\n## '):] if '\n## ' in rest else ''
    page.write_text(f'{before}## On a GPU\n\n{text}{following}')
PY
echo "the results are in $work/report.md${page:+ and $page}"
[ -z "$failed" ] || die "failed:$failed. Run the command again to repeat these."
