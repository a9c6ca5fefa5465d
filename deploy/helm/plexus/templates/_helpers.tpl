{{- define "plexus.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "plexus.podLabels" . }}
{{- end -}}

{{- define "plexus.podLabels" -}}
app.kubernetes.io/name: plexus
app.kubernetes.io/component: daemon
app.kubernetes.io/part-of: plexus
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- /* The reference of an image. The arguments are its values, and the tag if there is none. */ -}}
{{- define "plexus.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 1)) -}}
{{- end -}}
{{- end -}}

{{- /* What a distribution has in other places. The components in deploy/components have the same. */ -}}
{{- define "plexus.distribution" -}}
{{- if eq .Values.distribution "k0s" -}}
kubeletDir: /var/lib/k0s/kubelet
{{- else if eq .Values.distribution "k3s" -}}
confDir: /var/lib/rancher/k3s/agent/etc/cni/net.d
binDir: /var/lib/rancher/k3s/data/cni
{{- else if eq .Values.distribution "microk8s" -}}
confDir: /var/snap/microk8s/current/args/cni-network
binDir: /var/snap/microk8s/current/opt/cni/bin
kubeletDir: /var/snap/microk8s/common/var/lib/kubelet
{{- else if eq .Values.distribution "openshift" -}}
confDir: /etc/kubernetes/cni/net.d
binDir: /var/lib/cni/bin
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- /* daemon-config.json: .Values.config takes precedence over what the other values set. */ -}}
{{- define "plexus.config" -}}
{{- $config := dict -}}
{{- with (include "plexus.distribution" . | fromYaml).kubeletDir -}}
{{- $config = dict "kubeletDir" . -}}
{{- end -}}
{{- if .Values.monitoring.enabled -}}
{{- $config = mergeOverwrite $config (.Files.Get "files/components/monitoring/monitoring.json" | fromJson) -}}
{{- end -}}
{{- if .Values.startupTaint.enabled -}}
{{- $config = mergeOverwrite $config (.Files.Get "files/components/startup-taint/startup-taint.json" | fromJson) -}}
{{- end -}}
{{- if .Values.dra.enabled -}}
{{- $config = mergeOverwrite $config (.Files.Get "files/components/dra/dra.json" | fromJson) -}}
{{- end -}}
{{- if .Values.hotplug.enabled -}}
{{- $config = mergeOverwrite $config (.Files.Get "files/components/hotplug/hotplug.json" | fromJson) -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.config) | toPrettyJson -}}
{{- end -}}

{{- /*
The objects of a file of deploy/, with the labels and the namespace of the release. Labels of the file take
precedence. The arguments are the root context, the file, and more labels.
*/ -}}
{{- define "plexus.objects" -}}
{{- $root := index . 0 -}}
{{- $labels := mergeOverwrite (include "plexus.labels" $root | fromYaml) (index . 2) -}}
{{- range $root.Files.Get (printf "files/%s" (index . 1)) | splitList "\n---\n" -}}
{{- $object := mergeOverwrite (dict "metadata" (dict "labels" (deepCopy $labels))) (fromYaml .) -}}
{{- if $object.metadata.namespace -}}
{{- $object = mergeOverwrite $object (dict "metadata" (dict "namespace" $root.Release.Namespace)) -}}
{{- end -}}
{{- with $object.subjects -}}
{{- $account := mergeOverwrite (first .) (dict "namespace" $root.Release.Namespace) -}}
{{- $object = mergeOverwrite $object (dict "subjects" (list $account)) -}}
{{- end }}
---
{{ toYaml $object }}
{{ end -}}
{{- end -}}
