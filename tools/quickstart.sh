#!/usr/bin/env bash
# From a fresh machine to a segmentation result at small scale; tools/quickstart.py has the options.
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for argument in "$@"; do
  case $argument in
    -h | --help)
      for python in ${PYTHON:-python3 python}; do
        ! command -v "$python" >/dev/null || exec "$python" "$tools/quickstart.py" --help
      done ;;
  esac
done

source "$tools/env.sh"
exec python "$tools/quickstart.py" "$@"
