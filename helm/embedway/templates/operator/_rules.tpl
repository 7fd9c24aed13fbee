{{/* What the operator may do. */}}
{{- define "embedway.operator.rules" -}}
# What people declare; it answers in status alone.
- apiGroups: [embedway.dev]
  resources: [vectorspaces, embeddingmodels, embeddingproviders, embeddingroutes, embeddingtenants, vectorspacemigrations]
  verbs: [get, list, watch]
- apiGroups: [embedway.dev]
  resources: [vectorspaces/status, embeddingmodels/status, embeddingproviders/status, embeddingroutes/status, embeddingtenants/status, vectorspacemigrations/status]
  verbs: [patch]
# What it makes of models; server-side apply is a patch, and a create where there is nothing yet.
# With a model its objects go by the cluster's own garbage collection.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, persistentvolumeclaims]
  verbs: [get, list, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, create, patch, delete]
# What measures the overlap of two spaces, before tenants move from one to the other.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# The chart's part of the routers' configuration, and the whole of it.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Release.Name }}-router-config]
  verbs: [patch]
# Keys of tenants and providers are copied into the one Secret that routers mount.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Release.Name }}-router-secrets]
  verbs: [patch]
# Which routers there are.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Which operator leads, and what it has to say.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}
