#!/usr/bin/env bash
# Lint, types, documentation and tests; on a fresh machine it installs first (see env.sh). Arguments go to pytest.
# The files of tests are shared out among as many processes as there are cores; -n 0 runs them in one.
#   bash tools/run_tests.sh --upstream DIR    the tests alone, in the environment DIR, which has OpenMMLab's own packages
set -euo pipefail

run_tests() {
  local processes
  # A process and what it starts take up to 4 GB.
  processes=$(awk -v cores="$(nproc)" '/^MemAvailable/ { fit = int($2 / 4194304) } END { print fit < cores ? fit : cores }' /proc/meminfo)
  if [ "$processes" -gt 1 ] && python -c 'import xdist' 2>/dev/null; then
    export OMP_NUM_THREADS=1
    set -- -n "$processes" --dist loadfile "$@"
  fi
  python -m pytest -q "$@"
}

if [ "${1:-}" = --upstream ]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  [ -x "${2:-}/bin/python" ] || { echo "error: --upstream needs the folder of an environment, but '${2:-}/bin/python' does not exist." >&2; exit 1; }
  environment=$(cd "$2" && pwd)
  shift 2
  cd "$root"
  # mmengine 0.10.7 reads its own checkpoints only so with torch >= 2.6; what says weights_only=True itself stays strict.
  export PATH="$environment/bin:$PATH" PYTHONPATH="$root:$root/tools" TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1
  run_tests "$@"
  exit
fi
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$root"
# One command a line: `set -e` does not see what fails in front of `&&`.
echo '== lint'
ruff check .
ruff format --check .
lint-imports --no-cache
echo '== types'; mypy mmbeitv2 tools
[ $# -gt 0 ] || { echo '== docs'; bash tools/build_docs.sh; }
echo '== tests'; run_tests "$@"
