#!/bin/bash
# Starts the control plane and the node's programs, in the namespaces that cluster.sh created. Runs
# until it is killed. This process is the first one of the node's PID namespace.
set -euo pipefail

PKI=$STATE/pki
LOG=$STATE/log
SOCKET=/run/plexus-k8s/containerd.sock

# /proc is still that of the machine, so this is the PID there.
read -r pid _ </proc/self/stat
echo "$pid" >"$STATE/node.pid"
mount -t proc proc /proc

# These directories of the machine are hidden, and are not changed.
mount --make-rshared /
for dir in /var/lib/cni /etc/cni /opt/cni /var/lib/kubelet /run/netns /var/lib/plexus /run/plexus /run/plexus-k8s \
    /run/containerd /run/multus /var/log/pods /var/log/containers; do
    mkdir -p "$dir"
    mount -t tmpfs tmpfs "$dir"
done
mkdir -p /etc/cni/net.d /opt/cni/bin /etc/cni/multus/net.d
cp "$CNI_BIN_DIR"/* /opt/cni/bin/
cat >/etc/cni/net.d/10-pods.conflist <<EOF
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "10.244.0.0/20"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
echo 1 >/proc/sys/net/ipv4/ip_forward
# Replaces kube-proxy: the only service is that of the API server.
for chain in OUTPUT PREROUTING; do
    iptables -t nat -A "$chain" -d 10.96.0.1/32 -p tcp --dport 443 -j DNAT --to 10.99.0.1:6443
done

# run NAME PROGRAM ARGUMENT...: starts a program in the background, with log and PID files.
run() {
    local name=$1
    shift
    "$@" >>"$LOG/$name.log" 2>&1 &
    echo $! >"$LOG/$name.pid"
}

minor=$(kubelet --version | sed -n 's/^Kubernetes v1\.\([0-9]*\).*/\1/p')
feature_gates=() runtime=() cgroups= restarts=
if [ "$minor" -lt 22 ]; then
    feature_gates=(--feature-gates BoundServiceAccountTokenVolume=true)
fi
if [ "$minor" -lt 24 ]; then
    runtime=(--container-runtime remote)
fi
# Since 1.35, kubelet accepts cgroup v1 only on request.
if [ "$minor" -ge 31 ]; then
    cgroups="failCgroupV1: false"
fi
# check-hotplug.sh kills plexusd repeatedly.
if [ "$minor" -ge 35 ]; then
    restarts="crashLoopBackOff: {maxContainerRestartPeriod: 1s}"
fi

run etcd etcd --data-dir "$STATE/etcd" --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
run apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address 10.99.0.1 --secure-port 6443 \
    --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" --client-ca-file "$PKI/ca.crt" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
    --service-cluster-ip-range 10.96.0.0/16 --service-account-issuer https://kubernetes.default.svc \
    --service-account-signing-key-file "$PKI/sa.key" --service-account-key-file "$PKI/sa.pub" \
    --kubelet-client-certificate "$PKI/admin.crt" --kubelet-client-key "$PKI/admin.key" \
    --kubelet-preferred-address-types InternalIP "${feature_gates[@]}"
until kubectl --kubeconfig "$STATE/admin.conf" get --raw /healthz >/dev/null 2>&1; do sleep 0.5; done
run controller-manager kube-controller-manager --kubeconfig "$STATE/admin.conf" --leader-elect=false \
    --service-account-private-key-file "$PKI/sa.key" --root-ca-file "$PKI/ca.crt" \
    --use-service-account-credentials "${feature_gates[@]}"
run scheduler kube-scheduler --kubeconfig "$STATE/admin.conf" --leader-elect=false

mkdir -p "$STATE/containerd"
cat >"$STATE/containerd/config.toml" <<EOF
version = 2
root = "$STATE/containerd/root"
state = "/run/plexus-k8s/state"
[grpc]
address = "$SOCKET"
[plugins."io.containerd.internal.v1.opt"]
path = "$STATE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/sleep:1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
EOF
run containerd containerd --config "$STATE/containerd/config.toml"
until ctr --address "$SOCKET" version >/dev/null 2>&1; do sleep 0.3; done
for image in "$STATE/sleep.tar" "$IMAGE"; do
    ctr --address "$SOCKET" --namespace k8s.io images import "$image"
done

echo "nameserver 10.99.0.254" >"$STATE/resolv.conf"
cat >"$STATE/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: "$PKI/ca.crt"}, webhook: {enabled: true}}
authorization: {mode: AlwaysAllow}
tlsCertFile: "$PKI/kubelet.crt"
tlsPrivateKeyFile: "$PKI/kubelet.key"
failSwapOn: false
cgroupDriver: cgroupfs
$cgroups
$restarts
volumePluginDir: /var/lib/kubelet/volume-plugins
resolvConf: "$STATE/resolv.conf"
enforceNodeAllocatable: []
clusterDNS: [10.99.0.254]
nodeStatusUpdateFrequency: 2s
eventRecordQPS: 0
# The images are not in any registry: kubelet must keep them, even on a full disk.
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "100Mi"}
EOF
run kubelet kubelet --config "$STATE/kubelet.yaml" --kubeconfig "$STATE/kubelet.conf" --hostname-override node1 \
    --node-ip 10.99.0.1 --container-runtime-endpoint "unix://$SOCKET" "${runtime[@]}"
# As the first process of the namespace, bash waits for orphaned processes.
sleep infinity &
wait
