#!/usr/bin/env bash
# Builds the documentation as web pages in docs/_build/html; a warning or a broken link is an error.
#   bash tools/build_docs.sh [options of sphinx-build]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$root"
if ! python -c 'import furo, myst_parser, sphinx, sphinx_copybutton' 2>/dev/null; then
  # An environment that env.sh made for an earlier version is brought up to date; another one is left as it is.
  [ -n "${venv:-}" ] || die "the packages for the documentation are missing: pip install -r requirements/docs.txt -c requirements/constraints.txt"
  python -m pip --disable-pip-version-check --no-input install -q -r requirements/docs.txt -c requirements/constraints.txt
fi
python docs/generate.py --check
python -m sphinx -b html -W --keep-going -n -q -d docs/_build/doctrees "$@" docs docs/_build/html
echo "the first page is docs/_build/html/index.html"
