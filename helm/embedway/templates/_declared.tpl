{{/* What is declared in values, with the demonstration and the first key put to it: specs of the
     embedway.dev resources by name. Each gives one object of YAML; callers read it with fromYaml. */}}

{{- define "embedway.demo" -}}
spaces:
  all-minilm-l6-v2: {model: sentence-transformers/all-MiniLM-L6-v2, dimensions: 384, maxTokens: 256}
models:
  all-minilm-l6-v2: {space: all-minilm-l6-v2, model: all_minilm_l6_v2, gpus: 0}
routes:
  all-minilm-l6-v2:
    space: all-minilm-l6-v2
    targets: [{kind: EmbeddingModel, name: all-minilm-l6-v2}]
{{- end -}}

{{/* {root, section} */}}
{{- define "embedway.declared" -}}
{{- $demo := .root.Values.demo.enabled | ternary (get (include "embedway.demo" . | fromYaml) .section) dict -}}
{{- toYaml (mergeOverwrite $demo (deepCopy (get .root.Values .section))) -}}
{{- end -}}

{{- define "embedway.spaces" -}}
{{- include "embedway.declared" (dict "root" . "section" "spaces") -}}
{{- end -}}

{{- define "embedway.models" -}}
{{- include "embedway.declared" (dict "root" . "section" "models") -}}
{{- end -}}

{{- define "embedway.routes" -}}
{{- include "embedway.declared" (dict "root" . "section" "routes") -}}
{{- end -}}

{{- define "embedway.tenants" -}}
{{- $tenants := deepCopy .Values.tenants -}}
{{- if .Values.key.enabled -}}
{{- $first := dict "name" "first" "secret" (dict
  "name" (include "embedway.keySecret" .) "key" .Values.key.existingSecretKey) -}}
{{- $tenant := default dict (get $tenants .Values.key.tenant) -}}
{{- $_ := set $tenant "keys" (prepend (default list $tenant.keys) $first) -}}
{{- $_ := set $tenants .Values.key.tenant $tenant -}}
{{- end -}}
{{- toYaml $tenants -}}
{{- end -}}

{{/* How many replicas a model may have: the most that scaling gives. */}}
{{- define "embedway.mostReplicas" -}}
{{- with .autoscaling -}}
{{- int .maxReplicas -}}
{{- else -}}
{{- include "embedway.replicas" . -}}
{{- end -}}
{{- end -}}

{{/* How many replicas a model has where nothing scales it; 0 is a number that counts. */}}
{{- define "embedway.replicas" -}}
{{- int (hasKey . "replicas" | ternary .replicas 1) -}}
{{- end -}}

{{/* How few replicas scaling leaves a model. */}}
{{- define "embedway.fewestReplicas" -}}
{{- int (hasKey . "minReplicas" | ternary .minReplicas 1) -}}
{{- end -}}

{{/* The model name that `helm test` asks for: a route's, or the first's. */}}
{{- define "embedway.testModel" -}}
{{- $routes := include "embedway.routes" . | fromYaml -}}
{{- $name := default (first (append (keys $routes | sortAlpha) "")) .Values.tests.route -}}
{{- default $name (get (default dict (get $routes $name)) "modelName") -}}
{{- end -}}
