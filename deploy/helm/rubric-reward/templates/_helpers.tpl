{{- define "rubric-reward.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* Labels that select; give (list $ "component"). */}}
{{- define "rubric-reward.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "rubric-reward.labels" -}}
{{ include "rubric-reward.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{- define "rubric-reward.image" -}}
{{ (index . 0).Values.image.registry }}{{ index . 1 }}:{{ (index . 0).Values.image.tag | default (index . 0).Chart.AppVersion }}
{{- end }}

{{- define "rubric-reward.secret" -}}
{{ required "existingSecret: name a Secret with keys.json and passwords; the chart's README.md says how it is made" .Values.existingSecret }}
{{- end }}

{{- define "rubric-reward.dataClaim" -}}
{{ .Values.data.existingClaim | default (printf "%s-data" (include "rubric-reward.name" .)) }}
{{- end }}

{{- /* Judges have addresses of their own: the API itself chooses among them. */}}
{{- define "rubric-reward.judgeUrls" -}}
{{- $name := include "rubric-reward.name" . -}}
{{- if eq .Values.judge.kind "external" -}}
{{- if not .Values.judge.urls }}{{ fail "judge.urls: name at least one, or choose another judge.kind" }}{{ end -}}
{{ join "," .Values.judge.urls }}
{{- else -}}
{{- $urls := list -}}
{{- range until (int .Values.judge.replicas) -}}
{{- $urls = append $urls (printf "http://%s-judge-%d.%s-judge:8000/v1" $name . $name) -}}
{{- end -}}
{{ join "," $urls }}
{{- end -}}
{{- end }}

{{- /* Numbers of YAML are floats to Helm: 1048576 shall not become 1.048576e+06. */}}
{{- define "rubric-reward.settingText" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- /* What the API and the worker have in common. */}}
{{- define "rubric-reward.settings" -}}
{{- $secret := include "rubric-reward.secret" . -}}
- {name: ARR_DATA_DIR, value: /data}
{{- if .Values.postgres.enabled }}
- {name: ARR_DATABASE_URL, value: "postgresql+psycopg://arr@{{ include "rubric-reward.name" . }}-postgres:5432/arr"}
- {name: PGPASSWORD, valueFrom: {secretKeyRef: {name: {{ $secret }}, key: postgres-password}}}
{{- else }}
- {name: ARR_DATABASE_URL, valueFrom: {secretKeyRef: {name: {{ $secret }}, key: database-url}}}
{{- end }}
{{- if .Values.redis.enabled }}
- {name: ARR_REDIS_URL, value: "redis://{{ include "rubric-reward.name" . }}-redis:6379/0"}
{{- else }}
- {name: ARR_REDIS_URL, valueFrom: {secretKeyRef: {name: {{ $secret }}, key: redis-url, optional: true}}}
{{- end }}
- {name: ARR_JUDGE_URLS, value: {{ include "rubric-reward.judgeUrls" . | quote }}}
{{- range $name, $key := dict "ARR_JUDGE_API_KEY" "judge-api-key" "ARR_CHAT_API_KEY" "chat-api-key" "ARR_EMBEDDINGS_API_KEY" "embeddings-api-key" }}
- {name: {{ $name }}, valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ $key }}, optional: true}}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ include "rubric-reward.settingText" $value | quote }}}
{{- end }}
{{- end }}

{{- define "rubric-reward.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rubric-reward.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
