#!/bin/sh
# Makes the environment: sh .ci/setup.sh CONSTRAINTS VENV run|dev
# Everything goes into VENV; each refusal is one sentence with its fix, exit status 2.
set -u
constraints=$1 venv=$2 kind=$3
python=${PYTHON:-python3}

refuse() { echo "setup: $1" >&2; exit 2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    refuse "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python3"
sums=$(cat "$constraints" pyproject.toml server_aggregator/pyproject.toml lab/pyproject.toml | cksum)
stamp=$venv/$kind.stamp
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sums" ]; then touch "$stamp"; exit 0; fi

if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import ensurepip' 2>/dev/null || refuse "the venv module is missing; install python3-venv"
    echo "setup: making $venv"
    "$python" -m venv "$venv" || refuse "could not make $venv; is the disk full?"
fi
echo "setup: installing from $constraints (hashes checked)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$constraints" ||
    refuse "the packages could not be installed; check the network and the disk, then run the command again"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    -e . -e server_aggregator -e lab ||
    refuse "tactful itself could not be installed; see the message above"
echo "$sums" > "$stamp"
