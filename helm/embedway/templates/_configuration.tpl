{{/* The router's configuration file. */}}

{{/* What does not depend on models, routes and tenants: the operator completes it, or the chart. */}}
{{- define "embedway.baseConfiguration" -}}
{{- $state := "/var/lib/embedway" -}}
{{- $configuration := deepCopy .Values.router.configuration -}}
{{- $server := mergeOverwrite (default dict $configuration.server) (dict
  "host" "0.0.0.0" "port" 8080 "grpc_port" 8081
  "drain_delay_s" (int .Values.router.drain.propagationSeconds)
  "drain_timeout_s" (int .Values.router.drain.timeoutSeconds)) -}}
{{- $store := mergeOverwrite (default dict $configuration.store) (dict "state" (printf "%s/state" $state)) -}}
{{- if include "embedway.isShared" . -}}
{{- $_ := set $store "url_env" "EMBEDWAY_STORE_URL" -}}
{{- else -}}
{{- $_ := set $store "url" (printf "sqlite:///%s/embedway.db" $state) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $configuration (dict "server" $server "store" $store)) -}}
{{- end -}}

{{/* The whole file, where there is no operator. */}}
{{- define "embedway.staticConfiguration" -}}
{{- $models := include "embedway.models" . | fromYaml -}}
{{- $base := include "embedway.baseConfiguration" . | fromYaml -}}
{{- toYaml (mergeOverwrite $base (dict
  "spaces" (include "embedway.static.spaces" (dict "root" . "models" $models) | fromYaml)
  "targets" (include "embedway.static.targets" (dict "root" . "models" $models) | fromYaml)
  "routes" (include "embedway.static.routes" (dict "root" . "models" $models) | fromYaml)
  "tenants" (include "embedway.static.tenants" . | fromYaml))) -}}
{{- end -}}

{{/* Replicas of one model run the same image and weights: where a space has nothing else, they are
     trusted, so that none waits for another to be verified. {root, models} */}}
{{- define "embedway.static.spaces" -}}
{{- $scope := . -}}
{{- $spaces := dict -}}
{{- range $name, $spec := include "embedway.spaces" .root | fromYaml -}}
{{- $space := include "embedway.fileWords" (omit $spec "reference") | fromYaml -}}
{{- $members := 0 -}}
{{- range concat (values $scope.models) (values $scope.root.Values.providers) -}}
{{- if eq .space $name }}{{- $members = add1 $members }}{{- end -}}
{{- end -}}
{{- $verification := default dict $space.verification -}}
{{- with $spec.reference -}}
{{- $_ := set $verification "reference" (printf "%s%s" .name (ternary "-0" "" (eq .kind "EmbeddingModel"))) -}}
{{- end -}}
{{- if and (empty $verification) (eq (int $members) 1) -}}
{{- $_ := set $verification "enabled" false -}}
{{- end -}}
{{- with $verification -}}{{- $_ := set $space "verification" . -}}{{- end -}}
{{- $_ := set $spaces $name $space -}}
{{- end -}}
{{- toYaml $spaces -}}
{{- end -}}

{{/* A target for each replica and each provider. {root, models} */}}
{{- define "embedway.static.targets" -}}
{{- $root := .root -}}
{{- $targets := dict -}}
{{- range $name, $spec := .models -}}
{{- $own := omit $spec "engine" "image" "gpus" "replicas" "autoscaling" "cache" "resources" "nodeSelector" "tolerations" "env" -}}
{{- range $i := until (int (include "embedway.mostReplicas" $spec)) -}}
{{- $address := printf "grpc://%s-triton-%s-%d.%s.svc.%s:8001" $root.Release.Name $name $i $root.Release.Namespace $root.Values.clusterDomain -}}
{{- $target := include "embedway.fileWords" $own | fromYaml -}}
{{- $_ := set $targets (printf "%s-%d" $name $i) (mergeOverwrite $target (dict "upstream" "triton" "url" $address)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $spec := .root.Values.providers -}}
{{- $target := include "embedway.fileWords" (omit $spec "apiKeySecret") | fromYaml -}}
{{- $key := dict "file" (include "embedway.secretFile" $spec.apiKeySecret) -}}
{{- $_ := set $targets $name (mergeOverwrite $target (dict "api_key" $key)) -}}
{{- end -}}
{{- toYaml $targets -}}
{{- end -}}

{{/* Routes by the name that clients ask for, their models replaced by replicas. {root, models} */}}
{{- define "embedway.static.routes" -}}
{{- $models := .models -}}
{{- $routes := dict -}}
{{- range $name, $spec := include "embedway.routes" .root | fromYaml -}}
{{- $route := include "embedway.fileWords" (omit $spec "modelName" "space" "targets" "rules") | fromYaml -}}
{{- $targets := include "embedway.static.names" (dict "targets" $spec.targets "models" $models) | fromYamlArray -}}
{{- $_ := set $route "targets" $targets -}}
{{- if gt (len $targets) (len $spec.targets) -}}
{{- if eq (len $spec.targets) 1 -}}
{{- $_ := set $route "strategy" (default "fastest" $route.strategy) -}}
{{- end -}}
{{- if eq (default "priority" $route.strategy) "priority" -}}
{{- fail (printf "routes.%s.strategy: a model of several replicas needs one that spreads over them: fastest, weighted or cheapest" $name) -}}
{{- end -}}
{{- end -}}
{{- $rules := list -}}
{{- range $spec.rules -}}
{{- $rule := include "embedway.fileWords" (omit . "targets") | fromYaml -}}
{{- with .targets -}}
{{- $_ := set $rule "targets" (include "embedway.static.names" (dict "targets" . "models" $models) | fromYamlArray) -}}
{{- end -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- with $rules -}}{{- $_ := set $route "rules" . -}}{{- end -}}
{{- $_ := set $routes (default $name $spec.modelName) $route -}}
{{- end -}}
{{- toYaml $routes -}}
{{- end -}}

{{/* {targets, models} */}}
{{- define "embedway.static.names" -}}
{{- $names := list -}}
{{- range .targets -}}
{{- if eq .kind "EmbeddingModel" -}}
{{- $name := .name -}}
{{- range $i := until (int (include "embedway.mostReplicas" (get $.models $name))) -}}
{{- $names = append $names (printf "%s-%d" $name $i) -}}
{{- end -}}
{{- else -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/* Tenants; keys of Secrets are read from the files that they are mounted at. */}}
{{- define "embedway.static.tenants" -}}
{{- $tenants := dict -}}
{{- range $name, $spec := include "embedway.tenants" . | fromYaml -}}
{{- $tenant := include "embedway.fileWords" (omit $spec "keys") | fromYaml -}}
{{- $keys := list -}}
{{- range $spec.keys -}}
{{- $key := include "embedway.fileWords" (omit . "secret") | fromYaml -}}
{{- with .secret -}}{{- $_ := set $key "file" (include "embedway.secretFile" .) -}}{{- end -}}
{{- $keys = append $keys $key -}}
{{- end -}}
{{- $_ := set $tenants $name (mergeOverwrite $tenant (dict "keys" $keys)) -}}
{{- end -}}
{{- toYaml $tenants -}}
{{- end -}}

{{/* A spec in the words of the configuration file: targetWaitSeconds is target_wait_s there. What
     people name themselves stays as it is. */}}
{{- define "embedway.fileWords" -}}
{{- $written := dict -}}
{{- range $name, $value := . -}}
{{- $word := regexReplaceAll "([A-Z])" (regexReplaceAll "Seconds$" $name "S") "_${1}" | lower -}}
{{- if and (kindIs "map" $value) (not (has $name (list "prompts" "providerInputTypes" "tags" "body"))) -}}
{{- $_ := set $written $word (include "embedway.fileWords" $value | fromYaml) -}}
{{- else if and (kindIs "slice" $value) $value (kindIs "map" (first $value)) -}}
{{- $items := list -}}
{{- range $value }}{{- $items = append $items (include "embedway.fileWords" . | fromYaml) -}}{{- end -}}
{{- $_ := set $written $word $items -}}
{{- else -}}
{{- $_ := set $written $word $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $written -}}
{{- end -}}

{{/* Where a value of a Secret is mounted in routers. {name, key} */}}
{{- define "embedway.secretFile" -}}
{{- printf "/etc/embedway/secrets/%s.%s" .name (default "key" .key) -}}
{{- end -}}

{{/* Every Secret that the file refers to, as sources of a projected volume. */}}
{{- define "embedway.secretSources" -}}
{{- $secrets := list -}}
{{- range .Values.providers -}}{{- $secrets = append $secrets .apiKeySecret -}}{{- end -}}
{{- range include "embedway.tenants" . | fromYaml -}}
{{- range .keys -}}
{{- with .secret -}}{{- $secrets = append $secrets . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $secrets | uniq }}
- secret:
    name: {{ .name }}
    items:
      - key: {{ default "key" .key }}
        path: {{ base (include "embedway.secretFile" .) }}
{{- end -}}
{{- end -}}
