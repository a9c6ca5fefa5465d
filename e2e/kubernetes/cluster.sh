#!/bin/bash
# A real cluster with one node, from programs that are installed on this machine. The node has its
# own network, mount and PID namespaces. `down` removes everything.
#
#   cluster.sh up                    starts the cluster and waits until the node is Ready
#   cluster.sh kubectl ARGUMENT...   runs kubectl as an administrator of the cluster
#   cluster.sh node COMMAND...       runs a command in the namespaces of the node
#   cluster.sh restart-kubelet       stops kubelet and starts it again
#   cluster.sh down                  stops and removes the cluster
#
# KUBE_BIN is the directory of kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and,
# unless they are on the PATH, etcd and kubectl. CNI_BIN_DIR is the directory of the CNI plugins, IMAGE
# the archive with the image of Plexus. containerd, ctr, runc, buildah, openssl and a static busybox
# must be on the PATH.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
export STATE=${STATE:-/tmp/plexus-kubernetes}
export KUBE_BIN=${KUBE_BIN:-$STATE/bin}
export CNI_BIN_DIR=${CNI_BIN_DIR:-/usr/lib/cni}
ROOT=$(cd "$HERE/../.." && pwd)
export IMAGE=${IMAGE:-$ROOT/dist/plexus-image.tar}
export PATH=$KUBE_BIN:$PATH
NETNS=plexus-k8s

in_node() {
    nsenter --target "$(cat "$STATE/node.pid")" --mount --net --pid "$@"
}

admin_kubectl() {
    in_node kubectl --kubeconfig "$STATE/admin.conf" "$@"
}

# cert NAME SUBJECT ALTERNATIVE_NAMES: creates a key and a certificate.
cert() {
    openssl req -newkey rsa:2048 -nodes -keyout "$STATE/pki/$1.key" -out "$STATE/pki/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$STATE/pki/$1.csr" -CA "$STATE/pki/ca.crt" -CAkey "$STATE/pki/ca.key" -CAcreateserial \
        -out "$STATE/pki/$1.crt" -days 30 \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
}

# kubeconfig NAME: writes a kubeconfig with the certificate of that name.
kubeconfig() {
    cat >"$STATE/$1.conf" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://10.99.0.1:6443", certificate-authority: "$STATE/pki/ca.crt"}}]
users: [{name: user, user: {client-certificate: "$STATE/pki/$1.crt", client-key: "$STATE/pki/$1.key"}}]
contexts: [{name: lab, context: {cluster: lab, user: user}}]
current-context: lab
EOF
}

up() {
    mkdir -p "$STATE"/{pki,log,image}
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$STATE/pki/ca.key" -out "$STATE/pki/ca.crt" -subj /CN=ca -days 30 \
        2>/dev/null
    cert apiserver /CN=kube-apiserver "DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.99.0.1,IP:10.96.0.1"
    cert admin "/O=system:masters/CN=admin" DNS:admin
    cert kubelet "/O=system:nodes/CN=system:node:node1" "DNS:node1,IP:10.99.0.1"
    openssl genrsa -out "$STATE/pki/sa.key" 2048 2>/dev/null
    openssl rsa -in "$STATE/pki/sa.key" -pubout -out "$STATE/pki/sa.pub" 2>/dev/null
    kubeconfig admin
    kubeconfig kubelet

    # The image of all containers, and of the sandboxes.
    cp "$(command -v busybox)" "$STATE/image/busybox"
    cat >"$STATE/image/Containerfile" <<'EOF'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENTRYPOINT ["/bin/busybox", "sleep", "2147483647"]
EOF
    local buildah=(buildah --root "$STATE/buildah" --runroot "$STATE/buildah/run" --storage-driver vfs)
    "${buildah[@]}" build --quiet --isolation chroot --tag localhost/sleep:1 "$STATE/image" >/dev/null
    rm -f "$STATE/sleep.tar"
    "${buildah[@]}" push --quiet localhost/sleep:1 "oci-archive:$STATE/sleep.tar:localhost/sleep:1"

    ip netns add "$NETNS"
    ip link add vplexus type veth peer name uplink0 netns "$NETNS"
    ip link set vplexus up
    ip -n "$NETNS" addr add 10.99.0.1/24 dev uplink0
    ip -n "$NETNS" link set uplink0 up
    ip -n "$NETNS" link set lo up
    ip -n "$NETNS" route add default via 10.99.0.254
    setsid nsenter --net="/run/netns/$NETNS" unshare --mount --pid --fork --propagation private \
        bash "$HERE/node.sh" >"$STATE/log/node.log" 2>&1 </dev/null &
    for _ in $(seq 120); do
        if admin_kubectl wait --for condition=Ready node/node1 --timeout 1s >/dev/null 2>&1; then
            admin_kubectl version 2>/dev/null | tail -1
            return
        fi
        sleep 1
    done
    echo "the node is not Ready after 120 attempts: see $STATE/log" >&2
    exit 1
}

restart_kubelet() {
    in_node bash -c '
        pid=$(cat "$0/kubelet.pid")
        mapfile -d "" -t command <"/proc/$pid/cmdline"
        kill "$pid"
        tail --pid "$pid" --follow /dev/null
        setsid "${command[@]}" >>"$0/kubelet.log" 2>&1 </dev/null &
        echo $! >"$0/kubelet.pid"' "$STATE/log"
}

down() {
    # The PID namespace of the node ends with its first process, and with it every process on the node. If
    # `up` was interrupted, no file has that PID yet.
    ip netns pids "$NETNS" 2>/dev/null | xargs --no-run-if-empty kill -9 2>/dev/null || true
    ip netns del "$NETNS" 2>/dev/null || true
    ip link del vplexus 2>/dev/null || true
    for groups in /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods; do
        for _ in $(seq 50); do
            [ -d "$groups" ] || break
            find "$groups" -depth -type d -exec rmdir {} \; 2>/dev/null || true
            sleep 0.1
        done
    done
    rm -rf "$STATE"/{etcd,containerd,log,pki,node.pid}
    rmdir /run/plexus-k8s /run/multus /run/plexus 2>/dev/null || true
}

case "${1:-}" in
up) up ;;
down) down ;;
kubectl) shift && admin_kubectl "$@" ;;
node) shift && in_node "$@" ;;
restart-kubelet) restart_kubelet ;;
*) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
