{{/* Parts of network policies. */}}

{{/* A policy's metadata and the pods that it is about. {root, component} */}}
{{- define "embedway.network.head" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "embedway.metadata" (dict "root" .root "component" .component "name" (printf "%s-%s" .root.Release.Name .component)) | nindent 2 }}
spec:
  policyTypes: [Ingress, Egress]
  podSelector:
    matchLabels:
      {{- include "embedway.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* The pods of a component as a peer. {root, component} */}}
{{- define "embedway.network.pods" -}}
- podSelector:
    matchLabels:
      {{- include "embedway.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* One rule: {direction, peers, ports}. No peers: anywhere. */}}
{{- define "embedway.network.rule" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- with .peers }}
  {{ $.direction }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Names are resolved; the argument is the root. */}}
{{- define "embedway.network.dns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
