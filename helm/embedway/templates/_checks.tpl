{{/* What the schema cannot say; each mistake is one sentence that names the value. */}}

{{- define "embedway.checks" -}}
{{- $several := or (gt (int .Values.router.replicas) 1) .Values.router.autoscaling.enabled -}}
{{- if and $several (not (include "embedway.isShared" .)) -}}
{{- fail "router.replicas: several routers cannot share a SQLite file: set store.kind to postgresql" -}}
{{- end -}}
{{- if and (include "embedway.isShared" .) (not .Values.store.existingSecret) -}}
{{- fail "store.existingSecret: name the Secret that holds PostgreSQL's address" -}}
{{- end -}}
{{- if gt (len .Release.Name) 36 -}}
{{- fail "the release's name is too long: pods' names would not fit, 36 characters are the most" -}}
{{- end -}}
{{- if and .Values.tests.enabled (not .Values.key.enabled) -}}
{{- fail "tests.enabled: `helm test` needs the key of key.enabled" -}}
{{- end -}}
{{- $doors := or .Values.ingress.enabled .Values.httpRoute.enabled .Values.grpcRoute.enabled -}}
{{- if and $doors .Values.networkPolicy.enabled (not .Values.networkPolicy.gateways) -}}
{{- fail "networkPolicy.gateways: name the pods of the ingress controller or gateway, or they cannot reach the router" -}}
{{- end -}}
{{- include "embedway.checkPeers" . -}}
{{- include "embedway.checkNames" . -}}
{{- end -}}

{{/* Whoever a Service or a monitor lets come is let through by the policies, too. */}}
{{- define "embedway.checkPeers" -}}
{{- $policies := .Values.networkPolicy -}}
{{- $outside := $policies.gateways -}}
{{- range $policies.clients -}}
{{- if .ipBlock -}}{{- $outside = append $outside . -}}{{- end -}}
{{- end -}}
{{- if and $policies.enabled (ne .Values.router.service.type "ClusterIP") (not $outside) -}}
{{- fail (printf "networkPolicy.gateways: name the addresses that a Service of type %s is reached from, or they cannot reach the router" .Values.router.service.type) -}}
{{- end -}}
{{- $monitored := or .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled -}}
{{- if and $policies.enabled $monitored (not $policies.monitoring) -}}
{{- fail "networkPolicy.monitoring: name the pods of Prometheus, or it cannot read metrics" -}}
{{- end -}}
{{- end -}}

{{/* Names that are referred to exist. */}}
{{- define "embedway.checkNames" -}}
{{- $spaces := include "embedway.spaces" . | fromYaml -}}
{{- $models := include "embedway.models" . | fromYaml -}}
{{- $routes := include "embedway.routes" . | fromYaml -}}
{{- range $name, $model := $models -}}
{{- if not (hasKey $spaces $model.space) -}}
{{- fail (printf "models.%s.space: there is no space %s" $name $model.space) -}}
{{- end -}}
{{- with $model.autoscaling -}}
{{- $fewest := int (include "embedway.fewestReplicas" .) -}}
{{- if lt (int .maxReplicas) $fewest -}}
{{- fail (printf "models.%s.autoscaling: maxReplicas is below minReplicas" $name) -}}
{{- end -}}
{{- if eq (default "HorizontalPodAutoscaler" .by) "ScaledObject" -}}
{{- if not .prometheusUrl -}}
{{- fail (printf "models.%s.autoscaling.prometheusUrl: a ScaledObject needs it" $name) -}}
{{- end -}}
{{- else if eq $fewest 0 -}}
{{- fail (printf "models.%s.autoscaling.minReplicas: only a ScaledObject scales to zero" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $provider := .Values.providers -}}
{{- if hasKey $models $name -}}
{{- fail (printf "providers.%s: a model has the same name" $name) -}}
{{- end -}}
{{- if not (hasKey $spaces $provider.space) -}}
{{- fail (printf "providers.%s.space: there is no space %s" $name $provider.space) -}}
{{- end -}}
{{- end -}}
{{- range $name, $route := $routes -}}
{{- range $route.targets -}}
{{- $target := get (ternary $models $.Values.providers (eq .kind "EmbeddingModel")) .name -}}
{{- if not $target -}}
{{- fail (printf "routes.%s.targets: there is no %s %s" $name .kind .name) -}}
{{- end -}}
{{- if ne $target.space $route.space -}}
{{- fail (printf "routes.%s.targets: %s is of the space %s, the route of %s" $name .name $target.space $route.space) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.operator.enabled) (not $routes) -}}
{{- fail "routes: without the operator, declare spaces, models or providers, and routes (or demo.enabled)" -}}
{{- end -}}
{{- if and .Values.tests.route (not (hasKey $routes .Values.tests.route)) -}}
{{- fail (printf "tests.route: there is no route %s" .Values.tests.route) -}}
{{- end -}}
{{- end -}}
