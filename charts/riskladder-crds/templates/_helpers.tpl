{{/* Labels that Helm's conventions ask for, in addition to those of the manifests. */}}
{{- define "riskladder-crds.labels" -}}
helm.sh/chart: {{ printf "riskladder-crds-%s" .Chart.Version | replace "+" "_" }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
