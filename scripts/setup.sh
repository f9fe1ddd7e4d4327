# Makes $PYTHON an interpreter that satisfies requirements.txt; a no-op when nothing is missing.
# Source it from the project's root: `. scripts/setup.sh`. An environment of yours that already
# satisfies the requirements (conda, a GPU image) is used as it is; otherwise .venv is made.
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

if satisfied python3; then
  PYTHON=python3
else
  PYTHON=.venv/bin/python
  if ! satisfied "$PYTHON"; then
    echo "setup: installing requirements.txt into .venv (some minutes, once)" >&2
    [ -x "$PYTHON" ] || python3 -m venv .venv
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements.txt >&2
  fi
fi

# open3d opens these when it is imported, whether or not anything is shown.
missing=""
# Debian keeps ldconfig where a user's PATH does not lead.
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
