#!/usr/bin/env bash
# Print manifests/install.yaml: the chart with its defaults, and the namespace it goes to, for who has no Helm.
#   charts/render.sh [HELM]            print
#   charts/render.sh --check [HELM]    exit status 1 where manifests/install.yaml differs
set -euo pipefail
cd "$(dirname "$0")/.."

check=
if [[ ${1:-} == --check ]]; then
  check=1
  shift
fi
helm=${1:-helm}

render() {
  cat <<'YAML'
# Made by `make manifests` from charts/sessionstore with its default values. Apply it server-side:
#   kubectl apply --server-side -f install.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: sessionstore-system
  labels:
    app.kubernetes.io/part-of: sessionstore
    pod-security.kubernetes.io/enforce: restricted
YAML
  # kubectl is the manager here; Helm's own labels would make a later `helm install` believe that it was.
  # A Helm that was built from source believes that it speaks to Kubernetes 1.20 where no cluster tells it otherwise.
  "$helm" template sessionstore charts/sessionstore --namespace sessionstore-system --kube-version 1.34.0 \
    | sed -e '/^ *helm\.sh\/chart:/d' -e 's|app.kubernetes.io/managed-by: Helm|app.kubernetes.io/managed-by: kubectl|'
}

if [[ $check ]]; then
  render | diff -u manifests/install.yaml - || {
    echo 'manifests/install.yaml is not what the chart makes; run `make manifests`' >&2
    exit 1
  }
else
  render
fi
