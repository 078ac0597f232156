{{- define "deepdetect.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 40 letters, so that what is put behind it fits into 63. */}}
{{- define "deepdetect.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "deepdetect.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "deepdetect.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What never changes in the life of a release. */}}
{{- define "deepdetect.selectorLabels" -}}
app.kubernetes.io/name: {{ include "deepdetect.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "deepdetect.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "deepdetect.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: deepdetect
{{- end }}

{{/* Arguments: root, tag. */}}
{{- define "deepdetect.image" -}}
{{- $tag := .tag | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- if .root.Values.gpu.enabled }}{{ $tag = printf "%s-cuda" $tag }}{{ end -}}
{{ printf "%s:%s" .root.Values.image.repository $tag }}
{{- end }}

{{/* MiB of a quantity in Mi or Gi; the schema allows no other. */}}
{{- define "deepdetect.mebibytes" -}}
{{- if hasSuffix "Gi" . }}{{ mul 1024 (trimSuffix "Gi" . | int) }}{{ else }}{{ trimSuffix "Mi" . | int }}{{ end }}
{{- end }}

{{/* Queues full of the largest uploads take four fifths of the heap at the most. */}}
{{- define "deepdetect.jobQueueSize" -}}
{{- $limit := include "deepdetect.mebibytes" .Values.resources.limits.memory | int -}}
{{- $heap := div (mul $limit .Values.heapPercent) 100 -}}
{{- $fits := div (div (mul $heap 4) 5) (mul .Values.maxBodyMiB (len .Values.models)) -}}
{{- if lt (int $fits) 1 }}
{{- fail (printf "maxBodyMiB: %v MiB do not fit into a heap of %v MiB for %v models; raise resources.limits.memory" .Values.maxBodyMiB $heap (len .Values.models)) }}
{{- end }}
{{- if gt (int .Values.jobQueueSize) (int $fits) }}
{{- fail (printf "jobQueueSize is %v; a heap of %v MiB holds %v uploads of %v MiB for each of %v models" .Values.jobQueueSize $heap $fits .Values.maxBodyMiB (len .Values.models)) }}
{{- end }}
{{- .Values.jobQueueSize | default (min 100 $fits) }}
{{- end }}

{{- define "deepdetect.configProperties" -}}
# The project's config.properties, where each setting is explained, and what this release sets; what stands last holds.
{{ regexReplaceAll "(?m)^(#.*)?\n" (.Files.Get "files/config.properties") "" -}}
inference_address=http://127.0.0.1:{{ .Values.ports.inference }}
management_address=http://127.0.0.1:{{ .Values.ports.management }}
metrics_address=http://0.0.0.0:{{ .Values.ports.metrics }}
grpc_inference_port={{ .Values.ports.grpcInference }}
grpc_management_port={{ .Values.ports.grpcManagement }}
model_store={{ if .Values.store.existingClaim }}/models{{ else }}/opt/deepdetect/archives{{ end }}
load_models={{ range $index, $model := .Values.models }}{{ if $index }},{{ end }}{{ $model }}.mar{{ end }}
max_request_size={{ mul .Values.maxBodyMiB 1048576 }}
job_queue_size={{ include "deepdetect.jobQueueSize" . }}
vmargs=-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxRAMPercentage={{ .Values.heapPercent }} -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError
{{- if .Values.gpu.enabled }}
number_of_gpu={{ .Values.gpu.cards }}
{{- end }}
{{- range $key, $value := .Values.config }}
{{ $key }}={{ $value }}
{{- end }}
{{- end }}

{{- define "deepdetect.scalingQuery" -}}
sum(rate(ts_queue_latency_microseconds{namespace="{{ .Release.Namespace }}", service="{{ include "deepdetect.fullname" . }}-metrics"}[1m])) / 1e6
{{- end }}
