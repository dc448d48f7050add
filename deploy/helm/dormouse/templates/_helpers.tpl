{{- define "dormouse.name" -}}
{{- if contains "dormouse" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-dormouse" (.Release.Name | trunc 43 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "dormouse.selector" -}}
app.kubernetes.io/name: dormouse
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dormouse.labels" -}}
{{ include "dormouse.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "dormouse.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The settings file: values as they are, and where the secrets are mounted. */}}
{{- define "dormouse.settings" -}}
{{- $all := deepCopy .Values.settings }}
{{- $files := dict "brokerPassword" (list "broker" "password_file") "hotPassword" (list "hot" "password_file") "databasePassword" (list "database" "password_file") "emqxApiSecret" (list "emqx" "api_secret_file") }}
{{- range $name, $place := $files }}
{{- if (index $.Values.secrets $name).name }}
{{- $section := index $place 0 }}
{{- $_ := set $all $section (merge (dict (index $place 1) (printf "/run/secrets/dormouse/%s" $name)) (default dict (index $all $section))) }}
{{- end }}
{{- end }}
{{- $_ := set $all "http" (merge (dict "listen" "0.0.0.0:8080") (default dict $all.http)) }}
{{- range $section, $keys := $all }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{ end }}
{{- end }}
