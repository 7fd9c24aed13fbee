{{/* What the router and its database's upgrade have in common; the argument is the root. */}}

{{- define "embedway.router.environment" -}}
- name: HOME
  value: /tmp
- name: HF_HOME
  value: /var/lib/embedway/huggingface
{{- if include "embedway.isShared" . }}
- name: EMBEDWAY_STORE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.store.existingSecret }}
      key: {{ .Values.store.existingSecretKey }}
{{- end }}
{{ include "embedway.hubEnvironment" . | trim }}
{{- with .Values.router.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "embedway.router.mounts" -}}
- {name: config, mountPath: /etc/embedway/config, readOnly: true}
- {name: secrets, mountPath: /etc/embedway/secrets, readOnly: true}
- {name: state, mountPath: /var/lib/embedway}
- {name: scratch, mountPath: /tmp}
{{- with .Values.router.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
