# Sourced by quickstart.sh and run_tests.sh: puts a Python with this package on PATH.
# An activated environment in which the package imports is used as it is; else .venv, or the folder that VENV names,
# is made and filled. An environment takes 4.7 GB.

die() { echo "error: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

is_ready() { "$1" - 2>/dev/null <<'PY'
import pathlib, sys
import mmbeitv2, mmpretrain, mmseg, open_clip, fvcore, pytest  # noqa: F401
sys.exit(pathlib.Path(mmbeitv2.__file__).resolve().parents[1] != pathlib.Path.cwd().resolve())
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
  die "no Python 3.10, 3.11 or 3.12 found (python3 is $(python3 --version 2>&1 || echo missing)): install one, or name it by PYTHON=/path/to/python"
}

make_environment() {
  local venv=$1 python free log=$root/work_dirs/install.log
  python=$(find_python) || exit 1
  mkdir -p "$(dirname "$venv")" "$(dirname "$log")"
  free=$(df -Pk "$(dirname "$venv")" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge 6 ] || die "only $free GB are free for $venv, but 6 are needed: free some, or name a folder on another disk by VENV=DIR"
  echo "installing into $venv ($("$python" --version), log in work_dirs/install.log) ..."
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" >"$log" 2>&1 || die "$python cannot make an environment in $venv (see work_dirs/install.log): install its venv module"
  install_packages "$venv/bin/python" >>"$log" 2>&1 || {
    tail -n 3 "$log" >&2
    "$venv/bin/python" -m pip index versions packaging >/dev/null 2>&1 \
      || die "the packages could not be downloaded: check the network, then run the same command again"
    grep -qi 'no space left' "$log" && die "the disk is full: free 6 GB, or name a folder on another disk by VENV=DIR"
    die "the installation failed: see work_dirs/install.log"
  }
}

install_packages() {
  local pip=("$1" -m pip --disable-pip-version-check --no-input) constraints=requirements/constraints.txt
  "${pip[@]}" install -r requirements/runtime.txt -r requirements/mminstall.txt -r requirements/tests.txt -c "$constraints" || return
  # The mm packages ask for opencv-python, which links X libraries that a bare server lacks.
  "${pip[@]}" uninstall -y opencv-python || return
  "${pip[@]}" install --force-reinstall --no-deps opencv-python-headless -c "$constraints" || return
  "${pip[@]}" install --no-deps -e . || return
}

if ! is_ready python; then
  venv=${VENV:-$root/.venv}
  case $venv in /*) ;; *) venv=$root/$venv ;; esac
  if ! { [ -x "$venv/bin/python" ] && is_ready "$venv/bin/python"; }; then
    started=$SECONDS
    make_environment "$venv"
    is_ready "$venv/bin/python" || { "$venv/bin/python" -c 'import mmbeitv2, mmpretrain, mmseg, open_clip, fvcore, pytest'; die "the installed package does not import"; }
    echo "installed in $((SECONDS - started)) s"
  fi
  export PATH="$venv/bin:$PATH" VIRTUAL_ENV=$venv
fi
