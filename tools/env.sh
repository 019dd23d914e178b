# Sourced by quickstart.sh and run_tests.sh: puts a Python with this package on PATH, and leaves the current folder.
# An activated environment in which the package imports is used as it is. Otherwise .venv in the repository, or the
# folder in VENV (relative to the current one), is made and filled. An environment takes 4.7 GB.

die() { echo "error: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
needed='mmbeitv2, mmpretrain, mmseg, open_clip, sklearn, vector_quantize_pytorch, importlinter, pytest'

is_ready() { "$1" - "$root" 2>/dev/null <<PY
import pathlib, sys
sys.path = [folder for folder in sys.path if folder]  # not the current folder: the tools do not have it either
import $needed
sys.exit(pathlib.Path(mmbeitv2.__file__).resolve().parents[1] != pathlib.Path(sys.argv[1]).resolve())
PY
}

find_python() {
  local name
  for name in ${PYTHON:-python3.11 python3.12 python3.10 python3 python}; do
    if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  die "no Python 3.10, 3.11 or 3.12 found (python3 is $(python3 --version 2>&1 || echo missing)). Install one, or pass its path as PYTHON=/path/to/python."
}

make_environment() {
  local venv=$1 python free log=$root/work_dirs/install.log
  python=$(find_python) || exit 1
  mkdir -p "$(dirname "$venv")" "$(dirname "$log")"
  free=$(df -Pk "$(dirname "$venv")" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge 6 ] || die "only $free GB are free for $venv, but 6 GB are needed. Free some space, or choose a folder on another disk with VENV=DIR."
  echo "installing into $venv ($("$python" --version), log: $log) ..."
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" >"$log" 2>&1 || die "$python cannot make an environment in $venv (see $log). Install its venv module."
  (cd "$root" && install_packages "$venv/bin/python") >>"$log" 2>&1 || {
    tail -n 3 "$log" >&2
    "$venv/bin/python" -m pip index versions packaging >/dev/null 2>&1 \
      || die "the packages could not be downloaded. Check the network, then run the same command again."
    grep -qi 'no space left' "$log" && die "the disk is full. Free 6 GB, or choose a folder on another disk with VENV=DIR."
    die "the installation failed. See $log."
  }
}

install_packages() {
  local pip=("$1" -m pip --disable-pip-version-check --no-input) constraints=requirements/constraints.txt
  "${pip[@]}" install -r requirements/runtime.txt -r requirements/mminstall.txt -r requirements/tests.txt -r requirements/export.txt -r requirements/quantizers.txt -r requirements/docs.txt -c "$constraints" || return
  # The mm packages ask for opencv-python, which links X libraries that a bare server lacks.
  "${pip[@]}" uninstall -y opencv-python || return
  "${pip[@]}" install --force-reinstall --no-deps opencv-python-headless -c "$constraints" || return
  "${pip[@]}" install --no-deps -e . || return
}

if ! is_ready python; then
  venv=${VENV:-$root/.venv}
  case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
  if ! { [ -x "$venv/bin/python" ] && is_ready "$venv/bin/python"; }; then
    started=$SECONDS
    make_environment "$venv"
    is_ready "$venv/bin/python" || { "$venv/bin/python" -c "import $needed"; die "the installed package cannot be imported. See the message above."; }
    echo "installed in $((SECONDS - started)) s"
  fi
  export PATH="$venv/bin:$PATH" VIRTUAL_ENV=$venv
fi
