{{- define "perennial.labels" -}}
app.kubernetes.io/name: perennial
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "perennial.selector" -}}
app.kubernetes.io/name: perennial
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "perennial.file" -}}
{{ if .Values.deployment.content }}config/deployed/deployment.yaml{{ else }}{{ .Values.deployment.file }}{{ end }}
{{- end }}

{{/* What every pod of the deployment has in common. */}}
{{- define "perennial.pod" -}}
automountServiceAccountToken: false
{{- with .Values.serviceAccount }}
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What every container has: who it is, what it knows, and the two places that it may write to. */}}
{{- define "perennial.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- with .Values.secrets }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- end }}
env:
  - {name: HOME, value: /tmp}
  {{- range $name, $value := .Values.environment }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
volumeMounts:
  - {name: home, mountPath: /srv/perennial/var}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.deployment.content }}
  - {name: deployment, mountPath: /srv/perennial/config/deployed, readOnly: true}
  {{- end }}
{{- end }}

{{/* Volumes but for `home` of the service, where each pod may have one of its own. */}}
{{- define "perennial.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- if .Values.deployment.content }}
- name: deployment
  configMap: {name: {{ .Release.Name }}-deployment}
{{- end }}
{{- end }}

{{- define "perennial.home" -}}
- name: home
  {{- if .Values.home.claim }}
  persistentVolumeClaim: {claimName: {{ .Values.home.claim | quote }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
