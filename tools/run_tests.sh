#!/usr/bin/env bash
# Lint, types, documentation and tests; on a fresh machine it installs first (see env.sh). Arguments go to pytest.
#   bash tools/run_tests.sh --upstream DIR    the tests alone, in the environment DIR, which has OpenMMLab's own packages
set -euo pipefail
if [ "${1:-}" = --upstream ]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  [ -x "${2:-}/bin/python" ] || { echo "error: --upstream needs the folder of an environment, but '${2:-}/bin/python' does not exist." >&2; exit 1; }
  environment=$(cd "$2" && pwd)
  shift 2
  cd "$root"
  export PATH="$environment/bin:$PATH" PYTHONPATH="$root"
  exec python -m pytest -q "$@"
fi
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$root"
echo '== lint';  ruff check . && ruff format --check .
echo '== types'; mypy mmbeitv2 tools
[ $# -gt 0 ] || { echo '== docs'; bash tools/build_docs.sh; }
echo '== tests'; python -m pytest -q "$@"
