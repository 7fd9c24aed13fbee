{{/* Names and labels. Objects are called RELEASE-COMPONENT, which operator and router count on. */}}

{{/* The labels that select a component's pods; they may never change.
     {root, component, model?} */}}
{{- define "embedway.selectorLabels" -}}
app.kubernetes.io/name: embedway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .model }}
embedway.dev/model: {{ . }}
{{- end }}
{{- end -}}

{{/* All labels of an object. {root, component, model?} */}}
{{- define "embedway.labels" -}}
{{- $chosen := include "embedway.selectorLabels" . | fromYaml -}}
{{- $ours := dict
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/part-of" "embedway"
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.commonLabels) $ours $chosen) -}}
{{- end -}}

{{/* An object's metadata. {root, component, name, model?, labels?, annotations?} */}}
{{- define "embedway.metadata" -}}
{{- $annotations := mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (default dict .annotations)) -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- $labels := include "embedway.labels" . | fromYaml }}
  {{- toYaml (mergeOverwrite (deepCopy (default dict .labels)) $labels) | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image's full name. {root, image} */}}
{{- define "embedway.image" -}}
{{- $shared := .root.Values.image -}}
{{- $name := printf "%s:%s" .image.repository (coalesce .image.tag $shared.tag .root.Chart.AppVersion) -}}
{{- ternary $name (printf "%s/%s" $shared.registry $name) (empty $shared.registry) -}}
{{- end -}}

{{/* The newest version that the cluster has of an API. {root, kind} */}}
{{- define "embedway.apiVersion" -}}
{{- $versions := .root.Capabilities.APIVersions -}}
{{- if eq .kind "PodDisruptionBudget" -}}
{{- ternary "policy/v1" "policy/v1beta1" ($versions.Has "policy/v1") -}}
{{- else if eq .kind "HorizontalPodAutoscaler" -}}
{{- ternary "autoscaling/v2" "autoscaling/v2beta2" ($versions.Has "autoscaling/v2") -}}
{{- end -}}
{{- end -}}

{{/* Whether anything but SQLite on one volume keeps the books. */}}
{{- define "embedway.isShared" -}}
{{- if eq .Values.store.kind "postgresql" }}true{{ end -}}
{{- end -}}

{{/* The Secret of the first tenant's key. */}}
{{- define "embedway.keySecret" -}}
{{- default (printf "%s-key" .Release.Name) .Values.key.existingSecret -}}
{{- end -}}

{{/* A PodDisruptionBudget's spec. {root, component, model?} */}}
{{- define "embedway.disruptionBudget" -}}
# One at a time and not "all but one": with a single pod that would block every drain for ever.
maxUnavailable: 1
selector:
  matchLabels:
    {{- include "embedway.selectorLabels" . | nindent 4 }}
{{- end -}}
