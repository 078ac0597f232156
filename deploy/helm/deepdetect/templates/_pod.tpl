{{/* Of the pod. */}}
{{- define "deepdetect.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.uid }}
runAsGroup: {{ .Values.uid }}
fsGroup: {{ .Values.uid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Of each container. */}}
{{- define "deepdetect.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: {{ .Values.uid }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "deepdetect.environment" -}}
- {name: DEEPDETECT_STATE, value: /var/lib/deepdetect}
- {name: DEEPDETECT_CONFIG, value: /etc/deepdetect/config.properties}
- {name: HOME, value: /var/lib/deepdetect}
{{- end }}

{{- define "deepdetect.stop" -}}
preStop:
  exec:
    command:
      - sh
      - -c
      - sleep {{ .Values.termination.sleepSeconds }}; exec /opt/deepdetect/.venv/bin/python -m operations.serve --stop --drain-timeout {{ .Values.termination.drainSeconds }}
{{- end }}

{{/* Sleep, drain, and half a minute for the two commands and for TorchServe to end. */}}
{{- define "deepdetect.gracePeriod" -}}
{{- add .Values.termination.sleepSeconds .Values.termination.drainSeconds 30 }}
{{- end }}

{{/* TorchServe. Arguments: root, tag, withPorts, bare (without probes and preStop, which Knative has not for sidecars). */}}
{{- define "deepdetect.server" -}}
{{- $root := .root -}}
name: torchserve
image: {{ include "deepdetect.image" . }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: [/usr/bin/tini, -g, --, /opt/deepdetect/.venv/bin/python, -m, operations.serve, --foreground]
workingDir: /opt/deepdetect
env:
  {{- include "deepdetect.environment" $root | nindent 2 }}
  {{- if $root.Values.redis.existingSecret }}
  - {name: DEEPDETECT_CACHE_STORE, value: redis}
  - name: DEEPDETECT_REDIS_URL
    valueFrom: {secretKeyRef: {name: {{ $root.Values.redis.existingSecret }}, key: url}}
  {{- end }}
{{- if .withPorts }}
ports:
  - {name: metrics, containerPort: {{ $root.Values.ports.metrics }}}
{{- end }}
{{- if not .bare }}
startupProbe:
  httpGet: {path: /ready, port: {{ $root.Values.ports.probes }}}
  periodSeconds: 5
  failureThreshold: 60
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /live, port: {{ $root.Values.ports.probes }}}
  periodSeconds: 10
  failureThreshold: 3
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /ready, port: {{ $root.Values.ports.probes }}}
  periodSeconds: 5
  failureThreshold: 1
  timeoutSeconds: 5
lifecycle:
  {{- include "deepdetect.stop" $root | nindent 2 }}
{{- end }}
resources:
  {{- $resources := deepCopy $root.Values.resources }}
  {{- if $root.Values.gpu.enabled }}
  {{- $_ := set $resources.limits $root.Values.gpu.resource $root.Values.gpu.cards }}
  {{- end }}
  {{- toYaml $resources | nindent 2 }}
securityContext:
  {{- include "deepdetect.securityContext" $root | nindent 2 }}
volumeMounts:
  - {name: state, mountPath: /var/lib/deepdetect}
  - {name: config, mountPath: /etc/deepdetect, readOnly: true}
  {{- if $root.Values.store.existingClaim }}
  - {name: store, mountPath: /models, readOnly: true}
  {{- end }}
{{- end }}

{{/* nginx and the follower. Arguments: root, tag, name, sidecar. */}}
{{- define "deepdetect.proxy" -}}
{{- $values := .root.Values -}}
{{- $workers := deepCopy $values.workers -}}
{{- if $values.gpu.enabled }}
{{- range $values.models }}
{{- if not (hasKey $workers .) }}{{ $_ := set $workers . (mul $values.gpu.cards $values.gpu.workersPerCard) }}{{ end }}
{{- end }}
{{- end -}}
name: {{ .name }}
image: {{ include "deepdetect.image" . }}
imagePullPolicy: {{ $values.image.pullPolicy }}
command: [/usr/bin/tini, --, /opt/deepdetect/.venv/bin/python, -m, operations.proxy, run, /var/lib/deepdetect/proxy]
args:
  - --http-listen=0.0.0.0:{{ $values.ports.http }}
  - --grpc-listen=0.0.0.0:{{ $values.ports.grpc }}
  - --inference=127.0.0.1:{{ $values.ports.inference }}
  - --grpc-inference=127.0.0.1:{{ $values.ports.grpcInference }}
  - --rate-per-minute={{ $values.proxy.ratePerMinute }}
  - --burst={{ $values.proxy.burst }}
  - --max-connections={{ $values.proxy.maxConnections }}
  - --max-body-bytes={{ mul $values.maxBodyMiB 1048576 }}
  - --read-timeout-s={{ $values.proxy.readTimeoutSeconds }}
  - --processes={{ $values.proxy.processes }}
  - --clients=/etc/deepdetect-clients/clients.map
  - --access-log=/dev/stdout
  - --probes=127.0.0.1:{{ $values.ports.probes }}
  - --probe-listen=0.0.0.0:{{ $values.ports.probes }}
  {{- range $model, $number := $workers }}
  - --workers={{ $model }}={{ $number }}
  {{- end }}
workingDir: /opt/deepdetect
env:
  {{- include "deepdetect.environment" .root | nindent 2 }}
  - {name: DEEPDETECT_MANAGEMENT_ADDRESS, value: "http://127.0.0.1:{{ $values.ports.management }}"}
{{- if .sidecar }}
restartPolicy: Always
ports:
  - {name: http, containerPort: {{ $values.ports.http }}}
  - {name: grpc, containerPort: {{ $values.ports.grpc }}}
  - {name: probes, containerPort: {{ $values.ports.probes }}}
startupProbe:
  tcpSocket: {port: http}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  tcpSocket: {port: http}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 5
  failureThreshold: 1
  timeoutSeconds: 5
{{- else }}
ports:
  - {containerPort: {{ $values.ports.http }}, protocol: TCP}
livenessProbe:
  tcpSocket: {port: {{ $values.ports.http }}}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /ready, port: {{ $values.ports.http }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 1
  successThreshold: 1
{{- end }}
resources:
  {{- toYaml $values.proxy.resources | nindent 2 }}
securityContext:
  {{- include "deepdetect.securityContext" .root | nindent 2 }}
volumeMounts:
  - {name: state, mountPath: /var/lib/deepdetect}
  - {name: config, mountPath: /etc/deepdetect, readOnly: true}
  - {name: clients, mountPath: /etc/deepdetect-clients, readOnly: true}
{{- end }}

{{- define "deepdetect.volumes" -}}
- name: state
  emptyDir: {sizeLimit: {{ .Values.stateSize }}}
- name: config
  configMap: {name: {{ include "deepdetect.fullname" . }}-config}
- name: clients
  secret: {secretName: {{ .Values.clients.existingSecret }}, defaultMode: {{ ternary "0444" "0440" (and .Values.kserve.enabled (eq .Values.kserve.mode "Knative")) }}}
{{- if .Values.store.existingClaim }}
- name: store
  persistentVolumeClaim: {claimName: {{ .Values.store.existingClaim }}, readOnly: true}
{{- end }}
{{- end }}

{{/* A Deployment. Arguments: root, track, tag, replicas (none: something else sets them). */}}
{{- define "deepdetect.deployment" -}}
{{- $root := .root -}}
{{- $name := include "deepdetect.fullname" $root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}{{ if ne .track "stable" }}-{{ .track }}{{ end }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "deepdetect.labels" $root | nindent 4 }}
    app.kubernetes.io/component: server
spec:
  {{- if .replicas }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      {{- include "deepdetect.selectorLabels" $root | nindent 6 }}
      deepdetect/track: {{ .track }}
  template:
    metadata:
      labels:
        {{- with $root.Values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
        {{- include "deepdetect.selectorLabels" $root | nindent 8 }}
        app.kubernetes.io/part-of: deepdetect
        deepdetect/track: {{ .track }}
      annotations:
        checksum/config: {{ include "deepdetect.configProperties" $root | sha256sum }}
        {{- with $root.Values.podAnnotations }}{{ toYaml . | nindent 8 }}{{ end }}
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "deepdetect.gracePeriod" $root }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets: {{ toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "deepdetect.podSecurityContext" $root | nindent 8 }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "deepdetect.selectorLabels" $root | nindent 14 }}
              deepdetect/track: {{ $.track }}
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.affinity }}
      affinity: {{ toYaml . | nindent 8 }}
      {{- end }}
      initContainers:
        - {{ include "deepdetect.proxy" (dict "root" $root "tag" .tag "name" "proxy" "sidecar" true) | nindent 10 | trim }}
      containers:
        - {{ include "deepdetect.server" (dict "root" $root "tag" .tag "withPorts" true) | nindent 10 | trim }}
      volumes:
        {{- include "deepdetect.volumes" $root | nindent 8 }}
{{- end }}
