#!/usr/bin/env bash
# Installs the Debian packages whose commands are missing. Prints and does nothing when all are there.
#
# usage: packages.sh COMMAND:PACKAGE...      (root, or a user with sudo)
set -euo pipefail

missing=()
for pair in "$@"; do
  if [ "${pair%%:*}" = ensurepip ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=("${pair#*:}")
  else
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "packages: ${missing[*]} missing, and this machine has no apt-get; install them and run this again" >&2
  exit 1
fi
root=()
[ "$(id -u)" = 0 ] || root=(sudo)

# No package may start its service: a Redis on port 6379 is not ours to leave behind, and Docker is started by engine.sh.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" install -m 755 /dev/stdin $policy
  trap '"${root[@]}" rm -f $policy' EXIT
fi

echo "packages: installing ${missing[*]}"
log=$(mktemp)
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  tail -n 20 "$log" >&2
  echo "packages: apt-get could not install ${missing[*]}; its whole output is in $log" >&2
  exit 1
fi
rm -f "$log"
