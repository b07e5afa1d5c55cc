{{- /* What selects the pods of a part: root, part. */ -}}
{{- define "fustor.selector" -}}
app.kubernetes.io/name: fustor
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "fustor.labels" -}}
{{ include "fustor.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "fustor.metadata" -}}
metadata:
  name: {{ .root.Release.Name }}-{{ .part }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "fustor.labels" . | nindent 4 }}
{{- end }}

{{- define "fustor.image" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "fustor.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* A pod of a server or of the setup: it has no right on its node nor on the cluster. Variables that Kubernetes makes of services could be taken for Fustor's. */ -}}
{{- define "fustor.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.serviceAccount }}
serviceAccountName: {{ . }}
{{- end }}
{{- include "fustor.pullSecrets" . }}
securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
{{- end }}

{{- define "fustor.confined" -}}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}

{{- define "fustor.environment" -}}
envFrom:
  - configMapRef: {name: {{ .Release.Name }}-store}
  - secretRef: {name: {{ .Values.secrets.server }}}
{{- end }}

{{- /* A part that serves HTTP: root, part, port, command (a list), replicas, resources; temporary: it writes temporary files. */ -}}
{{- define "fustor.deployment" -}}
apiVersion: apps/v1
kind: Deployment
{{ include "fustor.metadata" . }}
spec:
  replicas: {{ .replicas }}
  selector:
    matchLabels: {{- include "fustor.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "fustor.labels" . | nindent 8 }}
      annotations:
        checksum/store: {{ .root.Values.store | sha256sum }}
    spec:
      {{- include "fustor.pod" .root | nindent 6 }}
      containers:
        - name: {{ .part }}
          {{- include "fustor.image" .root | nindent 10 }}
          args: {{- toYaml .command | nindent 12 }}
          {{- include "fustor.environment" .root | nindent 10 }}
          ports:
            - {name: http, containerPort: {{ .port }}}
          # The image has no shell; the key is in the environment, so that no manifest shows it.
          readinessProbe:
            exec: {command: [/usr/local/bin/fustor, healthcheck, "http://127.0.0.1:{{ .port }}"]}
            periodSeconds: 10
            timeoutSeconds: 6
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 20
            failureThreshold: 3
          resources: {{- toYaml .resources | nindent 12 }}
          {{- include "fustor.confined" . | nindent 10 }}
          {{- if get . "temporary" }}
          volumeMounts:
            - {name: temporary, mountPath: /tmp}
      volumes:
        - name: temporary
          emptyDir: {}
          {{- end }}
{{- end }}

{{- /* The service of a part: root, part, service. */ -}}
{{- define "fustor.service" -}}
apiVersion: v1
kind: Service
{{ include "fustor.metadata" . }}
spec:
  type: {{ .service.type }}
  selector: {{- include "fustor.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .service.port }}, targetPort: http}
{{- end }}

{{- /* Who may reach a part: root, part, port (its name), peers (a list; empty: everybody). No port: nobody. */ -}}
{{- define "fustor.reach" -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "fustor.metadata" . }}
spec:
  podSelector:
    matchLabels: {{- include "fustor.selector" . | nindent 6 }}
  policyTypes: [Ingress]
  {{- if .port }}
  ingress:
    - ports:
        - {port: {{ .port }}, protocol: TCP}
      {{- with .peers }}
      from: {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- end }}
{{ end }}
