# Sets $PYTHON to an interpreter that satisfies requirements.txt; a no-op if nothing is missing.
# Source it from the project root: `. scripts/setup.sh`. An existing environment that satisfies the
# requirements (conda, a GPU image) is used as it is; otherwise .venv is created.
[ -f requirements.txt ] && [ -d anchorweave ] || { echo "run this from the project's root" >&2; exit 1; }

satisfied() { # does interpreter $1 have every requirement, at an accepted version?
  [ -x "$(command -v "$1")" ] && "$1" - <<'PY' 2>/dev/null
import sys
from importlib.metadata import PackageNotFoundError, version
from packaging.requirements import Requirement
for line in open("requirements.txt"):
    if line := line.split("#")[0].strip():
        need = Requirement(line)
        try:
            found = version(need.name)
        except PackageNotFoundError:
            sys.exit(1)
        if not need.specifier.contains(found, prereleases=True):
            sys.exit(1)
PY
}

failed() { echo "setup: $1" >&2; exit 1; }

runs() { # does interpreter $1 start, and is it new enough?
  [ -x "$(command -v "$1")" ] && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

make_environment() { # .venv, from nothing or from whatever an earlier attempt left
  # Two scripts started together create it one after the other.
  exec 9< requirements.txt
  ! command -v flock > /dev/null || flock 9
  if [ -e .venv/being-set-up ]; then
    echo "setup: .venv was interrupted before it was whole; making it anew" >&2
    set_aside
  elif { [ -e .venv ] || [ -L .venv ]; } && ! { runs "$PYTHON" && "$PYTHON" -m pip --version > /dev/null 2>&1; }; then
    echo "setup: .venv holds no Python 3.10 or newer that runs and has pip; making it anew" >&2
    set_aside
  fi
  if [ ! -e .venv ]; then
    base=""
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
      if runs "$candidate"; then base=$candidate; break; fi
    done
    [ -n "$base" ] || failed "no Python 3.10 or newer (python3 is $(python3 --version 2>&1 || echo missing)); install one, such as python3.12, and run this again"
    # Marked before anything else is in it, because only marked environments may be deleted.
    mkdir .venv && touch .venv/made-by-setup .venv/being-set-up
    "$base" -m venv .venv >&2 || failed "$base cannot make environments, see above (Debian and Ubuntu: apt-get install python3-venv); then run this again"
  fi
  satisfied "$PYTHON" && { rm -f .venv/being-set-up; exec 9<&-; return; }
  touch .venv/being-set-up
  echo "setup: installing requirements.txt into .venv (some minutes, once)" >&2
  if ! "$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements.txt 2> .venv/pip.log; then
    cat .venv/pip.log >&2
    if grep -qE 'NewConnectionError|NameResolution|ConnectTimeout|ReadTimeout|ProxyError|unreachable|Temporary failure' .venv/pip.log; then
      failed "no network: the package index cannot be reached; connect, or name a mirror in PIP_INDEX_URL, and run this again"
    elif grep -q 'No space left' .venv/pip.log; then
      failed "the disk is full; make room (about 6 GB) and run this again"
    fi
    failed "pip could not install requirements.txt, its words stand above; run this again"
  fi
  satisfied "$PYTHON" || failed "requirements.txt is installed in .venv, and something of it is still missing there"
  rm .venv/being-set-up
  exec 9<&-
}

set_aside() { # what this script made is removed, anything else kept
  if [ ! -L .venv ] && [ -e .venv/made-by-setup ]; then
    rm -rf .venv
  else
    old=".venv.old-$(date +%s)"
    mv .venv "$old"
    echo "setup: what was there is kept as $old; remove it when you do not need it" >&2
  fi
}

if satisfied python3; then
  PYTHON=python3
else
  PYTHON=.venv/bin/python
  if [ -e .venv/being-set-up ] || ! satisfied "$PYTHON"; then make_environment; fi
fi

# open3d loads these when it is imported, even if nothing is displayed.
missing=""
# On Debian, ldconfig is not in a normal user's PATH.
if ldconfig=$(PATH="$PATH:/usr/sbin:/sbin"; command -v ldconfig); then
  libraries=$("$ldconfig" -p)
  for pair in libusb-1.0.so.0:libusb-1.0-0 libGL.so.1:libgl1 libEGL.so.1:libegl1 \
              libgomp.so.1:libgomp1 libX11.so.6:libx11-6; do
    case "$libraries" in *"${pair%%:*}"*) ;; *) missing="$missing ${pair##*:}" ;; esac
  done
fi
if [ -n "$missing" ]; then
  install="apt-get update -qq && apt-get install -y -qq --no-install-recommends$missing"
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "setup: installing system libraries:$missing" >&2
    sh -c "$install" > /dev/null
  else
    echo "open3d needs system libraries that are not installed; run: sudo sh -c '$install'" >&2
    exit 1
  fi
fi
export PYTHON
