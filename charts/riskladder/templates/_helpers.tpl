{{/* Labels that Helm's conventions ask for, in addition to those of the manifests. */}}
{{- define "riskladder.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "riskladder.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty where the policy that writes down the author of decisions is to be installed: MutatingAdmissionPolicy v1. */}}
{{- define "riskladder.identity" -}}
{{- $wanted := .Values.policies.identity -}}
{{- $known := semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
{{- if or (eq $wanted "always") (and (eq $wanted "auto") $known) }}true{{ end }}
{{- end }}
