{{/* The pod that measures the overlap of two spaces, for the operator to complete. */}}
{{- define "embedway.overlap.template" -}}
{{- $scope := dict "root" . "component" "overlap" "settings" (pick .Values.router "nodeSelector" "tolerations" "affinity" "priorityClassName") -}}
metadata:
  {{- include "embedway.podMetadata" $scope | nindent 2 }}
spec:
  {{- include "embedway.podSpec" (mergeOverwrite (dict "serviceAccount" (printf "%s-router" .Release.Name)) $scope) | nindent 2 }}
  restartPolicy: Never
  containers:
    - {{- include "embedway.container" (dict "root" . "name" "overlap" "image" .Values.router.image) | nindent 6 }}
      args:
        - overlap
        - --url=http://{{ .Release.Name }}-router.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:8080/v1
      resources:
        {{- toYaml .Values.tests.resources | nindent 8 }}
{{- end -}}
