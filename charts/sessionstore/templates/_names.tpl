{{- define "sessionstore.name" -}}
{{- if contains "sessionstore" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-sessionstore" (.Release.Name | trunc 27 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "sessionstore.selector" -}}
app.kubernetes.io/name: sessionstore-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sessionstore.labels" -}}
{{ include "sessionstore.selector" . }}
app.kubernetes.io/part-of: sessionstore
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "sessionstore.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What the operator may do in each namespace that it serves. One list, for a ClusterRole or for Roles.
tests/unit/charts compares it with the table that the code was reviewed by. */ -}}
{{- define "sessionstore.rules" -}}
# The stores themselves: their specs are read, of them only the status is written.
- apiGroups: [sessionstore.dev]
  resources: [sessionstores]
  verbs: [get, list, watch]
- apiGroups: [sessionstore.dev]
  resources: [sessionstores/status]
  verbs: [patch]
# What a store runs: its children, made by server-side apply (which asks for create and patch).
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch]
# Volumes: found by migration sources, grown where storage.size grows. Never deleted.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, patch]
# Why something does not come up, in the words of scheduler, kubelet and controllers; and our own events.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
# Gateways are injected and watched; a store is a StatefulSet.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, patch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, patch, create]
# The fence of a migration scales a gateway to 0 and back.
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [patch]
# Migrations run as Jobs.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, delete]
{{- end }}

{{- /* The heartbeat: every replica sees by its watch on the election's Lease that its watches live. The watches are made
side by side in the same namespaces, so this one is asked for wherever the others are; one name only. */ -}}
{{- define "sessionstore.heartbeat" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [sessionstore-operator]
  verbs: [list, watch]
{{- end }}

{{- /* What kopf watches beside the stores' own namespaces when those are named: the operator's own, for the Lease. It
reads there what it watches everywhere, and does nothing with it. */ -}}
{{- define "sessionstore.watches" -}}
- apiGroups: [sessionstore.dev]
  resources: [sessionstores]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch]
{{- end }}
