#!/usr/bin/env bash
# Everything that waits for a GPU, piece by piece; tools/gpu_report.py has the options.
#   bash tools/gpu_report.sh [WORK_DIR] [--piece NAME ...]
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$tools/env.sh"
exec python "$tools/gpu_report.py" "$@"
