{{/* What autoscalers ask Prometheus about a model. {root, name} */}}

{{- define "embedway.waitQuery" -}}
max(embedway_predicted_wait_seconds{namespace="{{ .root.Release.Namespace }}",target=~"{{ .name }}-[0-9]+"})
{{- end -}}

{{/* Requests a second to the routes that have the model, answered or not; zero where there were
     none yet, because a counter that was never raised is not exported. */}}
{{- define "embedway.demandQuery" -}}
{{- $routes := list -}}
{{- range $route, $one := include "embedway.routes" .root | fromYaml -}}
{{- range $one.targets -}}
{{- if eq .name $.name -}}{{- $routes = append $routes (default $route $one.modelName | regexQuoteMeta) -}}{{- end -}}
{{- end -}}
{{- end -}}
sum(rate(embedway_requests_total{namespace="{{ .root.Release.Namespace }}",route=~{{ join "|" $routes | quote }}}[2m])) or vector(0)
{{- end -}}
