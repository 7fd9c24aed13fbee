{{/* The pod of a model. */}}

{{/* The template of the pods: {root, name, spec}, an EmbeddingModel's. The operator takes the same
     template, made for no model, and completes it. */}}
{{- define "embedway.triton.pod" -}}
{{- $values := .root.Values.triton -}}
{{- $settings := mergeOverwrite (deepCopy $values) (deepCopy (pick .spec "nodeSelector" "tolerations" "resources")) -}}
{{- $drain := $values.drain -}}
{{- $shared := default dict .spec.cache -}}
{{- if and $shared.existingClaim (ne (default "ReadWriteOnce" $shared.accessMode) "ReadWriteMany") (gt (int (include "embedway.mostReplicas" .spec)) 1) -}}
{{- $_ := set $settings "affinity" (include "embedway.triton.together" . | fromYaml) -}}
{{- end -}}
metadata:
  {{- include "embedway.podMetadata" (dict "root" .root "component" "triton" "model" .name "settings" $settings) | nindent 2 }}
spec:
  {{- include "embedway.podSpec" (dict "root" .root "component" "triton" "model" .name "settings" $settings
      "serviceAccount" (printf "%s-triton" .root.Release.Name)) | nindent 2 }}
  {{- with $values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ add $drain.propagationSeconds $drain.timeoutSeconds $drain.marginSeconds }}
  containers:
    - {{- include "embedway.container" (dict "root" .root "name" "triton" "image" $values.image "whole" .spec.image) | nindent 6 }}
      command: [tritonserver]
      args:
        - --model-repository=/models
        - --backend-directory=/opt/embedway/backends
        # A model that cannot load would keep the server from starting: only this one is loaded.
        - --model-control-mode=explicit
        - --load-model={{ .spec.model }}
        - --http-port=8000
        - --grpc-port=8001
        - --metrics-port=8002
        - --exit-timeout-secs={{ int $drain.timeoutSeconds }}
        # Shared memory would let a client read the pod's memory, the others change the server. What
        # opens them is known to nobody who can reach it.
        - --http-restricted-api=shared-memory,model-repository,trace,logging:x-embedway-closed=$(POD_UID)
        - --grpc-restricted-protocol=shared-memory,model-repository,trace,logging:x-embedway-closed=$(POD_UID)
        {{- range $values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      env:
        - name: POD_UID
          valueFrom: {fieldRef: {fieldPath: metadata.uid}}
        - name: HF_HOME
          value: /cache/huggingface
        - name: HOME
          value: /tmp
        {{- include "embedway.hubEnvironment" .root | trim | nindent 8 }}
        {{- range $name, $value := .spec.env }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: 8000}
        - {name: grpc, containerPort: 8001}
        - {name: metrics, containerPort: 8002}
      # Long enough for the download and the load; nothing else looks at the pod before.
      startupProbe:
        httpGet: {path: /v2/health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ divf $values.startup.seconds 10 | ceil | int }}
      # The model's own: the server's readiness flaps while models load.
      readinessProbe:
        httpGet: {path: /v2/models/{{ .spec.model }}/ready, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /v2/health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 6
      # After the wait Triton is asked to end: it unloads models while requests still arrive, which
      # routers then bring elsewhere.
      lifecycle:
        {{- include "embedway.preStop" (int $drain.propagationSeconds) | nindent 8 }}
      {{- $resources := deepCopy $settings.resources }}
      {{- with int (hasKey .spec "gpus" | ternary .spec.gpus 1) }}
      {{- $limits := mergeOverwrite (default dict $resources.limits) (dict $values.gpuResource (int .)) }}
      {{- $_ := set $resources "limits" $limits }}
      {{- end }}
      resources:
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        - {name: cache, mountPath: /cache}
        - {name: shared-memory, mountPath: /dev/shm}
        - {name: scratch, mountPath: /tmp}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- with .spec.cache }}
    {{- with .existingClaim }}
    - name: cache
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
    {{- else }}
    - name: cache
      emptyDir: {}
    {{- end }}
    - name: shared-memory
      emptyDir: {medium: Memory, sizeLimit: {{ $values.sharedMemory }}}
    - name: scratch
      emptyDir: {}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* The affinity that keeps replicas on one node, where they share a volume that only one may have:
     elsewhere a pod would wait for it for ever. {root, name} */}}
{{- define "embedway.triton.together" -}}
{{- $affinity := deepCopy (default dict .root.Values.triton.affinity) -}}
{{- $pods := default dict $affinity.podAffinity -}}
{{- $labels := include "embedway.selectorLabels" (dict "root" .root "component" "triton" "model" .name) | fromYaml -}}
{{- $rule := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) -}}
{{- $rules := append (default list $pods.requiredDuringSchedulingIgnoredDuringExecution) $rule -}}
{{- $_ := set $pods "requiredDuringSchedulingIgnoredDuringExecution" $rules -}}
{{- $_ := set $affinity "podAffinity" $pods -}}
{{- toYaml $affinity -}}
{{- end -}}

{{/* What a model's objects are called. {root, name} */}}
{{- define "embedway.triton.name" -}}
{{- printf "%s-triton-%s" .root.Release.Name .name -}}
{{- end -}}

{{/* The template that the operator completes for each EmbeddingModel. */}}
{{- define "embedway.triton.template" -}}
{{- include "embedway.triton.pod" (dict "root" . "name" "" "spec" (dict "model" "MODEL" "gpus" 1)) -}}
{{- end -}}
