#!/usr/bin/env bash
# Leaves a virtual environment with everything that tests and lint need at the given path. `make venv` runs it.
#
# usage: requirements/venv.sh DIRECTORY [LOCK...]     (`bench` is what `make bench` needs besides)
# The directory's name holds a hash of the locks (see the Makefile), so clones with the same locks share one, and the
# project itself is not installed into it: it is found by PYTHONPATH, in whichever clone one works.
set -euo pipefail
cd "$(dirname "$0")"
venv=$1
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
[ -e "$venv/complete" ] && exit 0

../tests/cluster/packages.sh ensurepip:python3-venv
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "venv: Python 3.11 or newer is needed; python3 is $(python3 --version)" >&2
  exit 1
fi
echo "venv: installing the locked packages into $venv"
began=$SECONDS
rm -rf "$venv"
python3 -m venv "$venv"
for lock in build test lint "${@:2}"; do
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $lock.txt
done
printf '#!/bin/sh\nexec "%s/bin/python" -m sessionstore "$@"\n' "$venv" >"$venv/bin/sessionstore"
chmod +x "$venv/bin/sessionstore"
touch "$venv/complete"
echo "venv: done in $((SECONDS - began)) s"
