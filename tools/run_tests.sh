#!/usr/bin/env bash
# Lint, types and tests; on a fresh machine it installs first (see env.sh). Arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$root"
echo '== lint';  ruff check . && ruff format --check .
echo '== types'; mypy mmbeitv2 tools
echo '== tests'; python -m pytest -q "$@"
