{{- define "tcpstat.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tcpstat.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "tcpstat.name" . -}}
{{- $both := printf "%s-%s" .Release.Name $name -}}
{{- (contains $name .Release.Name | ternary .Release.Name $both) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tcpstat.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tcpstat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tcpstat.labels" -}}
{{ include "tcpstat.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tcpstat.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tcpstat.serviceAccountName" -}}
{{- with .Values.serviceAccount -}}
{{ .name | default (.create | ternary (include "tcpstat.fullname" $) "default") }}
{{- end -}}
{{- end -}}

{{/* The Secret with web.yml; empty without one. */}}
{{- define "tcpstat.webSecret" -}}
{{- with .Values.web -}}
{{- if and .config .existingSecret -}}
{{- fail "web.config and web.existingSecret are both set: remove one of them" -}}
{{- end -}}
{{- if .existingSecret -}}
{{ .existingSecret }}
{{- else if .config -}}
{{ printf "%s-web" (include "tcpstat.fullname" $) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The address to listen on. */}}
{{- define "tcpstat.address" -}}
{{- $context := .Values.securityContext | default dict -}}
{{- $added := ($context.capabilities | default dict).add | default list -}}
{{- $binds := or $context.privileged (has "NET_BIND_SERVICE" $added) (not .Values.hostNetwork) -}}
{{- if and (lt (int .Values.web.port) 1024) (not $binds) -}}
{{- fail "web.port is below 1024: choose another one, or add NET_BIND_SERVICE to securityContext.capabilities.add: [BPF, PERFMON, NET_BIND_SERVICE]" -}}
{{- end -}}
{{- with .Values.web -}}
{{ contains ":" .host | ternary (printf "[%s]" .host) .host }}:{{ .port }}
{{- end -}}
{{- end -}}

{{/* The arguments of the container, as a list in YAML. */}}
{{- define "tcpstat.args" -}}
- serve
{{- with .Values }}
{{- if ne .netns "self" }}
- --netns
- {{ .netns }}
{{- end }}
{{- with .cgroups }}
- --cgroups
- {{ join "," . | quote }}
{{- end }}
{{- with .ports }}
- --ports
- {{ join "," . | quote }}
{{- end }}
{{- with .scopesMax }}
- --scopes-max
- {{ . | quote }}
{{- end }}
{{- if include "tcpstat.webSecret" $ }}
- --web.config.file
- /etc/tcpstat/web.yml
{{- end }}
{{- range .extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where tcpstat serves the metrics: a flag in extraArgs comes before a variable in extraEnv. */}}
{{- define "tcpstat.metricsPath" -}}
{{- $path := "/metrics" -}}
{{- range .Values.extraEnv -}}
{{- if eq .name "TCPSTAT_WEB_TELEMETRY_PATH" -}}
{{- $path = .value | default $path -}}
{{- end -}}
{{- end -}}
{{- $flag := "--web.telemetry-path" -}}
{{- $before := "" -}}
{{- range .Values.extraArgs -}}
{{- if eq $before $flag -}}
{{- $path = . -}}
{{- else if hasPrefix (printf "%s=" $flag) . -}}
{{- $path = trimPrefix (printf "%s=" $flag) . -}}
{{- end -}}
{{- $before = . -}}
{{- end -}}
{{- $path -}}
{{- end -}}

{{/* What is mounted from the node, as a list in YAML: name, path on the node, path in the container. */}}
{{- define "tcpstat.hostPaths" -}}
{{- with .Values.hostPaths.tracefs }}
- {name: tracefs, from: {{ . | quote }}, to: /sys/kernel/tracing}
{{- end }}
{{- if eq .Values.netns "all" }}
{{- with .Values.hostPaths.pods }}
- {name: pods, from: {{ . | quote }}, to: /var/log/pods}
{{- end }}
{{- end }}
{{- if .Values.cgroups }}
{{- with .Values.hostPaths.cgroup }}
- {name: cgroup, from: {{ . | quote }}, to: /host/sys/fs/cgroup}
{{- end }}
{{- end }}
{{- end -}}

{{/* How a probe asks: path and configuration of the probe. */}}
{{- define "tcpstat.probe" -}}
{{- if include "tcpstat.webSecret" .root -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end }}
{{- with .root.Values.web.host }}
  host: {{ . | quote }}
{{- end }}
{{ toYaml .probe }}
{{- end -}}
