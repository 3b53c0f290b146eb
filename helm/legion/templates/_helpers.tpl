{{- define "legion.services" -}}
registry dispatcher ratelimit watchdog
{{- end }}

{{- define "legion.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "legion.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "legion.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "legion.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Called with (dict "root" $ "component" "registry"); those of a selector never change. */}}
{{- define "legion.selector" -}}
app.kubernetes.io/name: {{ include "legion.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "legion.labels" -}}
{{ include "legion.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: legion
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "legion.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "legion.databaseUrl" -}}
{{- if .Values.postgres.enabled -}}
postgres://legion:{{ .Values.postgres.password | urlquery | replace "+" "%20" }}@{{ include "legion.fullname" . }}-postgres:5432/legion
{{- else -}}
{{ .Values.database.url }}
{{- end }}
{{- end }}

{{/* DATABASE_URL of a container; "secret" is the name of the Secret of this release that has it. */}}
{{- define "legion.databaseEnv" -}}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- if .root.Values.database.existingSecret }}
      name: {{ .root.Values.database.existingSecret }}
      key: {{ .root.Values.database.existingSecretKey }}
      {{- else }}
      name: {{ .secret }}
      key: DATABASE_URL
      {{- end }}
{{- end }}

{{/* What a service's environment says, beside the database: a ConfigMap's data. Empty settings are left to the service. */}}
{{- define "legion.config" -}}
{{- $root := .root }}
{{- $values := index $root.Values .component }}
{{- $full := include "legion.fullname" $root }}
{{- $config := merge (dict) $values.config $root.Values.config }}
{{- if not (has .component (list "registry" "dispatcher")) }}{{ $config = omit $config "MAX_RESULT_BYTES" }}{{ end }}
{{- $_ := set $config "GRPC_PORT" $values.grpcPort }}
{{- $_ := set $config "HTTP_PORT" $values.httpPort }}
{{- range $target := get (dict "registry" (list "dispatcher") "dispatcher" (list "ratelimit" "watchdog") "ratelimit" (list) "watchdog" (list "registry")) .component }}
{{- $_ := set $config (printf "LEGION_%s" (upper $target)) (printf "%s-%s:%d" $full $target (index $root.Values $target "grpcPort" | int)) }}
{{- end }}
{{- range $key := keys $config | sortAlpha }}
{{- $value := get $config $key }}
{{- /* Numbers of values are floats, and 1000000 would become 1e+06. */}}
{{- if kindIs "float64" $value }}{{ $value = int64 $value }}{{ end }}
{{- if ne (toString $value) "" }}
{{ $key }}: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where a client in the cluster finds the mesh. */}}
{{- define "legion.clientEnv" -}}
{{- range $name := splitList " " (include "legion.services" .) }}
- name: LEGION_{{ upper $name }}
  value: {{ printf "%s-%s:%d" (include "legion.fullname" $) $name (index $.Values $name "grpcPort" | int) | quote }}
{{- end }}
{{- end }}

{{- define "legion.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "legion.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What all pods of our image begin with. */}}
{{- define "legion.podCommon" -}}
automountServiceAccountToken: false
# The variables that Kubernetes makes of Services look like settings of ours.
enableServiceLinks: false
securityContext:
  {{- include "legion.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What all containers of our image have. */}}
{{- define "legion.containerCommon" -}}
image: {{ include "legion.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "legion.containerSecurity" . | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
