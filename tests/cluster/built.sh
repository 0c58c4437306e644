#!/usr/bin/env bash
# Builds a kind node image, kind, kubectl and helm from Go modules and Debian packages alone, where nothing can be pulled.
#
# usage: built.sh BIN IMAGE      (root; idempotent; scratch beside BIN)
# Needs Go 1.21 or newer (it fetches the toolchain that Kubernetes asks for) and about 10 GB of disk.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.env"
bin=$1 image=$2
scratch=$(dirname "$bin")
base=debian:bookworm-slim          # the name that our Dockerfiles use, made here instead of pulled
rootfs=kind-offline/rootfs:bookworm
export DOCKER_BUILDKIT=0 GOFLAGS=-buildvcs=false

began=$SECONDS
say() { printf 'built: %4d s  %s\n' $((SECONDS - began)) "$*"; }
log=$scratch/build.log
mkdir -p "$bin" "$scratch/mod" "$scratch/ctx"
: >"$log"
trap '[ $? = 0 ] || { tail -n 30 "$log" >&2; echo "built: failed; the whole output is in $log" >&2; }' EXIT

build_programs() {
  if ! command -v go >/dev/null; then
    echo "built: images cannot be pulled here, and building them needs Go 1.21 or newer on the PATH" >&2
    exit 1
  fi
  local wanted="$BUILT_KUBERNETES $KIND $HELM $ETCD $COREDNS $LOCAL_PATH_PROVISIONER"
  if [ "$(cat "$bin/.versions" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$bin" "$scratch/mod"
    mkdir -p "$bin" "$scratch/mod"
  fi
  build_kubernetes
  export CGO_ENABLED=0
  build_module kind "sigs.k8s.io/kind@v$KIND" sigs.k8s.io/kind
  build_module etcd "go.etcd.io/etcd/server/v3@v$ETCD" go.etcd.io/etcd/server/v3
  build_module coredns "github.com/coredns/coredns@v$COREDNS" github.com/coredns/coredns
  build_module local-path-provisioner "github.com/rancher/local-path-provisioner@v$LOCAL_PATH_PROVISIONER" github.com/rancher/local-path-provisioner
  build_module helm "helm.sh/helm/v3/cmd/helm@v$HELM" helm.sh/helm/v3/cmd/helm
  unset CGO_ENABLED
  echo "$wanted" >"$bin/.versions"
}

compile() { # compile NAME PACKAGE [LDFLAGS]
  [ -x "$bin/$1" ] && return
  say "compiling $1"
  go build -trimpath -ldflags "-s -w ${3:-}" -o "$bin/$1" "$2" >>"$log" 2>&1
}

build_module() { # build_module NAME PACKAGE@VERSION PACKAGE: in a scratch module that pins it
  [ -x "$bin/$1" ] && return
  mkdir -p "$scratch/mod/$1"
  cd "$scratch/mod/$1"
  printf 'module tools/%s\n\ngo 1.24.0\n' "$1" >go.mod
  go get -tool "$2" >>"$log" 2>&1
  compile "$1" "$3"
}

build_kubernetes() {
  local programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl kubeadm" staging name
  mkdir -p "$scratch/mod/k8s"
  cd "$scratch/mod/k8s"
  if [ ! -e go.sum ]; then
    say "resolving Kubernetes v$BUILT_KUBERNETES"
    printf 'module tools/k8s\n\ngo 1.24.0\n' >go.mod
    staging=$(go mod download -json "k8s.io/kubernetes@v$BUILT_KUBERNETES" | jq -r .GoMod)
    # The main module replaces its staging modules by directories; here they are replaced as they are published.
    for name in $(grep -oE '^\s*k8s.io/[a-z0-9-]+ => ./staging' "$staging" | awk '{print $1}'); do
      go mod edit -replace "$name=$name@v0.${BUILT_KUBERNETES#1.}"
    done
    for name in $programs; do go mod edit -tool "k8s.io/kubernetes/cmd/$name"; done
    go mod edit -require "k8s.io/kubernetes@v$BUILT_KUBERNETES"
    go mod tidy -e >>"$log" 2>&1
  fi
  local at=k8s.io/component-base/version minor=${BUILT_KUBERNETES#1.}
  for name in $programs; do
    compile "$name" "k8s.io/kubernetes/cmd/$name" \
      "-X $at.gitVersion=v$BUILT_KUBERNETES -X $at.gitMajor=1 -X $at.gitMinor=${minor%%.*}"
  done
}

apt_sources() { # the host's own, for whichever release the host is of, turned into ones for bookworm
  local file=/etc/apt/sources.list.d/debian.sources
  [ -e $file ] || file=/etc/apt/sources.list
  sed -e '/^ *#/d' -e "s/\b$(. /etc/os-release && echo "$VERSION_CODENAME")\b/bookworm/g" "$file"
}

import_rootfs() { # import_rootfs IMAGE PACKAGES
  docker image inspect "$1" >/dev/null 2>&1 && return
  say "image $1"
  local dir mirror
  rm -rf "$scratch"/rootfs.*
  mirror=$(apt_sources | grep -oE -m1 'https?://[^ ]+')
  dir=$(mktemp -d "$scratch/rootfs.XXXX")
  debootstrap --variant=minbase --include="$2" bookworm "$dir" "$mirror" >>"$log" 2>&1
  if apt_sources | grep -q '^URIs:'; then
    rm -f "$dir/etc/apt/sources.list"
    apt_sources >"$dir/etc/apt/sources.list.d/debian.sources"
  else
    apt_sources >"$dir/etc/apt/sources.list"
  fi
  # What this host trusts, so that pip works in `docker build` behind whatever stands between it and the index.
  cp /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/"
  rm -rf "$dir"/var/cache/apt/archives/*.deb "$dir"/var/lib/apt/lists/*
  tar -C "$dir" -c . | docker import --change 'CMD ["bash"]' \
    --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' - "$1" >>"$log"
  rm -rf "$dir"
}

cluster_image() { # cluster_image NAME DOCKERFILE: built in the scratch context, and remembered for the node
  printf '%b' "$2" | docker build -q -t "$1" --network=host -f - . >>"$log" 2>&1
  cluster_images+=("$1")
}

kind_constant() { # kind's own image names are Go constants
  grep -oE "const $1 = \"[^\"]+\"" "$kind_source/pkg/build/nodeimage/const_storage.go" | cut -d'"' -f2
}

build_cluster_images() {
  say "the cluster's own images"
  local name
  for name in kube-apiserver kube-controller-manager kube-scheduler; do
    cluster_image "registry.k8s.io/$name:v$BUILT_KUBERNETES" "FROM $base\nCOPY $name /usr/local/bin/\n"
  done
  cluster_image "registry.k8s.io/kube-proxy:v$BUILT_KUBERNETES" "FROM $base
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends iptables conntrack ipset kmod && rm -rf /var/lib/apt/lists/*
COPY kube-proxy /usr/local/bin/\n"
  for name in $("$bin/kubeadm" config images list --kubernetes-version "v$BUILT_KUBERNETES" 2>>"$log"); do
    case $name in
      */etcd:*) cluster_image "$name" "FROM $base\nCOPY etcd /usr/local/bin/\n" ;;
      */coredns:*) cluster_image "$name" 'FROM scratch\nCOPY coredns /coredns\nENTRYPOINT ["/coredns"]\n' ;;
    esac
  done
  name=$(grep -oE 'sandbox_image = "[^"]+"' files/etc/containerd/config.toml | cut -d'"' -f2)
  cluster_image "$name" "FROM $rootfs AS r\nFROM scratch\nCOPY --from=r /usr/bin/catatonit /pause\nENTRYPOINT [\"/pause\",\"-P\"]\n"
  provisioner=$(kind_constant storageProvisionerImage) helper=$(kind_constant storageHelperImage)
  cluster_image "$provisioner" "FROM $base\nCOPY local-path-provisioner /usr/bin/\nENTRYPOINT [\"local-path-provisioner\"]\n"
  docker tag "$base" "$helper"
  cluster_images+=("$helper")
}

build_node_base() {
  say "the node's file system"
  python3 - "$kind_source/pkg/build/nodeimage/const_storage.go" "$provisioner" "$helper" >default-storage.yaml <<'PY'
import pathlib, re, sys
text = pathlib.Path(sys.argv[1]).read_text()
body = re.search(r"const defaultStorageManifest = `(.*?)`\n*\Z", text, re.S).group(1)
for name, value in (("storageProvisionerImage", sys.argv[2]), ("storageHelperImage", sys.argv[3])):
    body = body.replace("` + " + name + " + `", value)
print(body)
PY
  sed "s#HELPER_IMAGE#$helper#" "$here/default-cni.yaml" >default-cni.yaml
  sed "s#@VERSION@#v$BUILT_KUBERNETES#" "$here/node.Dockerfile" >Dockerfile
  docker build -q -t kind-offline/base:local . >>"$log" 2>&1
}

commit_node() { # the images go into the node's containerd, as kind's own image build does it
  say "loading the images into the node"
  local id
  id=$(docker run -d --entrypoint sleep --security-opt seccomp=unconfined kind-offline/base:local infinity)
  docker exec -d "$id" containerd
  until docker exec "$id" ctr version >/dev/null 2>&1; do sleep 0.3; done
  docker save "${cluster_images[@]}" \
    | docker exec -i "$id" ctr -n k8s.io images import --all-platforms --no-unpack --digests - >>"$log"
  docker exec "$id" pkill containerd
  sleep 1 # containerd closes its database after the signal; a commit before that would keep a half-written one
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' "$id" "$image" >>"$log"
  docker rm -f "$id" >>"$log"
}

build_programs
docker image inspect "$image" >/dev/null 2>&1 && docker image inspect "$base" >/dev/null 2>&1 && exit 0
kind_source=$(cd "$scratch/mod/kind" && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)
import_rootfs "$base" ca-certificates
import_rootfs "$rootfs" systemd,dbus,conntrack,iptables,nftables,iproute2,ethtool,mount,kmod,libseccomp2,pigz,e2fsprogs,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins,catatonit
docker image inspect "$image" >/dev/null 2>&1 && exit 0

rm -rf "$scratch/ctx" && mkdir -p "$scratch/ctx" && cd "$scratch/ctx"
cp "$bin"/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,etcd,coredns,local-path-provisioner,kubeadm,kubelet,kubectl} "$here/runc-wrap" .
cp -r "$kind_source/images/base/files" . && chmod -R u+w files
cluster_images=()
build_cluster_images
build_node_base
commit_node
rm -rf "$scratch/ctx"
say "$image is there"
