{{/* What all pods have in common. */}}

{{/* The pod's own fields. {root, component, model?, settings, serviceAccount, token?} */}}
{{- define "embedway.podSpec" -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- with .settings.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  {{- $scope := . }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "embedway.selectorLabels" $scope | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* A pod's metadata. {root, component, model?, settings, annotations?} */}}
{{- define "embedway.podMetadata" -}}
{{- $chosen := include "embedway.selectorLabels" . | fromYaml -}}
{{- $labels := mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy (default dict .settings.podLabels)) $chosen -}}
{{- $annotations := mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (default dict .settings.podAnnotations)) (default dict .annotations) -}}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A container's first fields. {root, name, image, whole?}; `whole` is an image's full name. */}}
{{- define "embedway.container" -}}
name: {{ .name }}
image: {{ .whole | default (include "embedway.image" .) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .root.Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A wait in which the pod still serves: endpoints and load balancers hear of a pod's end when it
     is asked for, and act on it later. */}}
{{- define "embedway.preStop" -}}
preStop:
  exec:
    command: [sleep, {{ . | quote }}]
{{- end -}}

{{/* Where models and tokenizers come from; the argument is the root. */}}
{{- define "embedway.hubEnvironment" -}}
{{- if .Values.hub.offline }}
- name: HF_HUB_OFFLINE
  value: "1"
{{- end }}
{{- with .Values.hub.existingSecret }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.hub.existingSecretKey }}
{{- end }}
{{- end -}}

{{/* A claim's spec. {accessMode, size, storageClass} */}}
{{- define "embedway.claim" -}}
accessModes: [{{ .accessMode }}]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}
