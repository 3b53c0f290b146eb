{{/* Values that are possible each and impossible together. */}}
{{- define "legion.checks" -}}
{{- with .Values }}
{{- $databases := 0 }}
{{- range list .database.url .database.existingSecret }}{{ if . }}{{ $databases = add1 $databases }}{{ end }}{{ end }}
{{- if .postgres.enabled }}
{{- $databases = add1 $databases }}
{{- $_ := required "postgres.password must be set when postgres.enabled is true" .postgres.password }}
{{- end }}
{{- /* Here and not in the schema, whose message would show the password. */}}
{{- if not (regexMatch "^(postgres(ql)?://.+)?$" .database.url) }}
{{- fail "database.url must begin with postgres:// or postgresql://" }}
{{- end }}
{{- if eq (int $databases) 0 }}
{{- fail "one of database.url, database.existingSecret and postgres.enabled must be set: Legion keeps everything in Postgres" }}
{{- end }}
{{- if gt (int $databases) 1 }}
{{- fail "only one of database.url, database.existingSecret and postgres.enabled can be set" }}
{{- end }}
{{- if and .grpcRoute.enabled (not .grpcRoute.parentRefs) }}
{{- fail "grpcRoute.parentRefs must name a Gateway when grpcRoute.enabled is true" }}
{{- end }}
{{- if and .keda.enabled (not .keda.targets) }}
{{- fail "keda.targets must name a Deployment when keda.enabled is true" }}
{{- end }}
{{- $stop := add .preStopSleepSeconds 5 }}
{{- if lt (int .terminationGracePeriodSeconds) (int $stop) }}
{{- fail (printf "terminationGracePeriodSeconds (%d) must be at least preStopSleepSeconds + 5 (%d), or pods are killed while they stop" (int .terminationGracePeriodSeconds) $stop) }}
{{- end }}
{{- $lease := include "legion.ms" .registry.config.SESSION_LEASE | float64 }}
{{- $beat := include "legion.ms" .registry.config.HEARTBEAT_INTERVAL | float64 }}
{{- if lt $lease (mulf 2 $beat) }}
{{- fail (printf "registry.config.SESSION_LEASE (%s) must be at least twice HEARTBEAT_INTERVAL (%s), or agents that heartbeat in time would lose their sessions" .registry.config.SESSION_LEASE .registry.config.HEARTBEAT_INTERVAL) }}
{{- end }}
{{- if ge (int .ratelimit.config.ACQUIRE_STATEMENTS) (int .ratelimit.config.POOL_SIZE) }}
{{- fail (printf "ratelimit.config.ACQUIRE_STATEMENTS (%d) must be less than its POOL_SIZE (%d), or nothing else gets a connection" (int .ratelimit.config.ACQUIRE_STATEMENTS) (int .ratelimit.config.POOL_SIZE)) }}
{{- end }}
{{- end }}
{{- range $name := splitList " " (include "legion.services" .) }}
{{- $service := index $.Values $name }}
{{- if eq (int $service.grpcPort) (int $service.httpPort) }}
{{- fail (printf "%s.grpcPort and %s.httpPort must differ" $name $name) }}
{{- end }}
{{- if and $service.autoscaling.enabled (gt (int $service.autoscaling.minReplicas) (int $service.autoscaling.maxReplicas)) }}
{{- fail (printf "%s.autoscaling.minReplicas must not be more than maxReplicas" $name) }}
{{- end }}
{{- range $.Values.keda.targets }}
{{- if and $.Values.keda.enabled $service.autoscaling.enabled (eq .deployment (printf "%s-%s" (include "legion.fullname" $) $name)) }}
{{- fail (printf "%s is scaled by %s.autoscaling and by keda.targets: choose one" .deployment $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A duration such as 1.5s in milliseconds. */}}
{{- define "legion.ms" -}}
{{- $unit := regexFind "[a-z]+$" . }}
{{- mulf (trimSuffix $unit . | float64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit) }}
{{- end }}
