#!/usr/bin/env bash
# From a fresh machine to a segmentation result at small scale; see tools/quickstart.py --help for the options.
set -euo pipefail
case " $* " in *' -h '*|*' --help '*) sed -n '2,/^"""$/p' "$(dirname "${BASH_SOURCE[0]}")/quickstart.py" | sed '/^"""$/d'; exit 0 ;; esac

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
exec python tools/quickstart.py "$@"
