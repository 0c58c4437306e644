#!/usr/bin/env bash
# Writes the locks: what the image and the tests install, with the hash of every file. `make lock` runs it.
#
# usage: requirements/lock.sh [--upgrade]     (needs python3 and the package index that pip is set up with)
# Without --upgrade, versions that are locked already stay. Each later lock is constrained by the earlier ones,
# so that all of them can be installed into one environment.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${SESSIONSTORE_CACHE:-$HOME/.cache/sessionstore}
uv=$cache/venv-lock/bin/uv
if [ ! -x "$uv" ]; then
  python3 -m venv "$cache/venv-lock"
  "$cache/venv-lock/bin/pip" install --quiet 'uv>=0.9'
fi

compile() { # compile LOCK ARGUMENT...
  local lock=requirements/$1
  shift
  echo "lock: $lock"
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --custom-compile-command 'make lock' --output-file "$lock" "$@"
}

upgrade=("$@")
python3 - <<'PY' | compile build.txt "${upgrade[@]}" -
import tomllib
print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"]))
PY
compile operator.txt "${upgrade[@]}" --extra redis --extra mongodb --extra encryption --extra operator --extra console --extra migration pyproject.toml
compile test.txt "${upgrade[@]}" --constraint requirements/operator.txt --all-extras --group test pyproject.toml
compile lint.txt "${upgrade[@]}" --constraint requirements/test.txt --group lint
compile bench.txt "${upgrade[@]}" --constraint requirements/test.txt --group bench
