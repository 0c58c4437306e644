#!/usr/bin/env bash
# Fetches what others publish: kind, kubectl and helm (each checked against its published SHA-256), the node image by
# digest, the base image. Fails within about 15 s where the internet is not there, and the caller builds instead.
#
# usage: published.sh BIN       leaves the three programs in BIN
set -euo pipefail
. "$(dirname "$0")/versions.env"
bin=$1
case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) echo "published: no kind release for $(uname -m)" >&2; exit 1 ;;
esac
mkdir -p "$bin"

# Asks for the image's manifest alone: the cheapest question whose answer means that a pull will work.
if ! docker image inspect "$PUBLISHED_NODE" >/dev/null 2>&1; then
  timeout 15 docker manifest inspect "$PUBLISHED_NODE" >/dev/null 2>&1 || { echo "published: images cannot be pulled here"; exit 1; }
fi

download() { # download URL CHECKSUM_URL FILE
  curl -fsSL --connect-timeout 10 --retry 2 -o "$3.part" "$1"
  local sum
  sum=$(curl -fsSL --connect-timeout 10 --retry 2 "$2" | awk '{print $1; exit}')
  echo "$sum  $3.part" | sha256sum --check --quiet
  mv "$3.part" "$3"
}

if ! [ -x "$bin/kind" ]; then
  echo "published: kind v$KIND"
  url=https://github.com/kubernetes-sigs/kind/releases/download/v$KIND/kind-linux-$arch
  download "$url" "$url.sha256sum" "$bin/kind.bin"
  install -m 755 "$bin/kind.bin" "$bin/kind" && rm "$bin/kind.bin"
fi
if ! [ -x "$bin/kubectl" ]; then
  echo "published: kubectl v$PUBLISHED_KUBERNETES"
  url=https://dl.k8s.io/release/v$PUBLISHED_KUBERNETES/bin/linux/$arch/kubectl
  download "$url" "$url.sha256" "$bin/kubectl.bin"
  install -m 755 "$bin/kubectl.bin" "$bin/kubectl" && rm "$bin/kubectl.bin"
fi
if ! [ -x "$bin/helm" ]; then
  echo "published: helm v$HELM"
  url=https://get.helm.sh/helm-v$HELM-linux-$arch.tar.gz
  download "$url" "$url.sha256sum" "$bin/helm.tar.gz"
  tar -xzf "$bin/helm.tar.gz" -C "$bin" --strip-components=1 "linux-$arch/helm" && rm "$bin/helm.tar.gz"
fi

for image in "$PUBLISHED_NODE" debian:bookworm-slim; do
  docker image inspect "$image" >/dev/null 2>&1 || { echo "published: pulling $image"; docker pull --quiet "$image" >/dev/null; }
done
