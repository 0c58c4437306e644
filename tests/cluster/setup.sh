#!/usr/bin/env bash
# Leaves this machine with a Docker engine, kind, kubectl, helm and a node image, and says in $cache/kind/chosen.json
# which. What is there already is kept, so a second run takes a second. `python -m tests.cluster up` runs this first.
#
# usage: setup.sh      (Debian; root)
# SESSIONSTORE_CACHE    where everything is kept (~/.cache/sessionstore)
# SESSIONSTORE_IMAGES   `published` or `built`: do not try, take this one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.env"
export SESSIONSTORE_CACHE=${SESSIONSTORE_CACHE:-$HOME/.cache/sessionstore}
kind=$SESSIONSTORE_CACHE/kind
chosen=$kind/chosen.json
mkdir -p "$kind"

choose() { # choose published|built BIN NODE_IMAGE
  jq -n --arg source "$1" --arg bin "$2" --arg node_image "$3" '{source: $source, bin: $bin, node_image: $node_image}' >"$chosen.new"
  mv "$chosen.new" "$chosen"
}

"$here/packages.sh" dockerd:docker.io jq:jq iptables:iptables curl:curl
"$here/engine.sh"

# The name of a built image says what it was built from, so that a changed recipe is a new image.
recipe=$(cd "$here" && cat versions.env built.sh node.Dockerfile default-cni.yaml runc-wrap | sha256sum | cut -c1-8)
built=sessionstore-test/node:v$BUILT_KUBERNETES-$recipe

# What was chosen before stays chosen while it is whole: trying the network again would make runs differ.
source=${SESSIONSTORE_IMAGES:-$(jq -r .source "$chosen" 2>/dev/null || true)}
if [ "$source" != built ]; then
  if "$here/published.sh" "$kind/bin-published-$KIND-$PUBLISHED_KUBERNETES-$HELM"; then
    choose published "$kind/bin-published-$KIND-$PUBLISHED_KUBERNETES-$HELM" "$PUBLISHED_NODE"
    exit 0
  elif [ "$source" = published ]; then
    echo "setup: the published images were chosen and cannot be had; SESSIONSTORE_IMAGES=built builds them" >&2
    exit 1
  fi
fi
"$here/packages.sh" debootstrap:debootstrap
"$here/built.sh" "$kind/bin" "$built"
choose built "$kind/bin" "$built"
