#!/bin/bash
# One throwaway Ceph cluster with an S3 gateway on the loopback interface, for the tests: one monitor, one disk that
# is memory, one gateway. The first process of a PID namespace: all of it ends when standard input does, which is
# when the test's process has ended, however that was. Says `ready` when it is up.
# usage: ceph.sh FOLDER MONITOR-PORT HTTP-PORT HTTPS-PORT; FOLDER has server.pem and server.key, and is removed
set -eu
D=$1 monitor=$2 http=$3 https=$4
export CEPH_CONF=$D/ceph.conf
mkdir -p "$D/log" "$D/run" "$D/mon.a" "$D/osd.0"
trap 'tail -n 30 "$D"/log/* >&2' ERR

id=$(cat /proc/sys/kernel/random/uuid)
cat >"$CEPH_CONF" <<END
[global]
fsid = $id
mon host = v1:127.0.0.1:$monitor
ms bind msgr2 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
keyring = $D/keyring
run dir = $D/run
admin socket = $D/run/\$name.asok
pid file =
log file = $D/log/\$name.log
mon cluster log file = $D/log/cluster.log
mon data = $D/\$name
osd data = $D/\$name
crash dir = $D/log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
[mon]
mon data avail crit = 1
mon data avail warn = 1
auth allow insecure global id reclaim = true
# What is proposed is not collected for half a second first: the start takes two seconds instead of twenty.
paxos min wait = 0.01
paxos propose interval = 0.05
[osd]
osd objectstore = memstore
memstore device bytes = 4294967296
memstore page size = 65536
osd op num shards = 2
osd op num threads per shard = 1
osd class load list = *
osd class default list = *
osd crush update on start = false
osd class update on start = false
[client]
rgw thread pool size = 32
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
# A day of a lifecycle rule is ten seconds.
rgw lc debug interval = 10
# A quota is obeyed at once.
rgw bucket quota ttl = 0
rgw user quota bucket sync interval = 1
rgw enable usage log = false
rgw enable ops log = false
END

for name in mon. client.admin osd.0 client.rgw; do
    ceph-authtool --create-keyring "$D/one" --gen-key -n $name --cap mon 'allow *' --cap osd 'allow *' >"$D/log/keys"
    cat "$D/one" >>"$D/keyring"
done
monmaptool --create --clobber --fsid "$id" --addv a "[v1:127.0.0.1:$monitor]" "$D/monmap" >"$D/log/monmap"
ceph-mon --mkfs -i a --monmap "$D/monmap" --keyring "$D/keyring" >"$D/log/monitor" 2>&1
ceph-mon -f -i a --public-addr "v1:127.0.0.1:$monitor" >>"$D/log/monitor" 2>&1 </dev/null &
disk=$(cat /proc/sys/kernel/random/uuid)
# It answers before it knows who may ask.
for try in $(seq 100); do
    ceph osd new "$disk" 0 >"$D/log/disk" 2>&1 && break
    [ "$try" -lt 100 ] && sleep 0.1
done
ceph-osd -i 0 --mkfs --osd-uuid "$disk" >>"$D/log/disk" 2>&1
ceph osd crush add osd.0 1.0 root=default host=localhost >>"$D/log/disk" 2>&1
ceph-osd -f -i 0 >>"$D/log/disk" 2>&1 </dev/null &
for user in owner writer small; do
    radosgw-admin user create --uid=$user --display-name=$user --access-key=$user \
        --secret-key=secret-of-the-$user >"$D/log/$user" 2>&1
done
# Who is small may store a mebibyte.
radosgw-admin quota set --quota-scope=user --uid=small --max-size=1M >>"$D/log/small" 2>&1
radosgw-admin quota enable --quota-scope=user --uid=small >>"$D/log/small" 2>&1
listens="endpoint=127.0.0.1:$http ssl_endpoint=127.0.0.1:$https"
radosgw -f -n client.rgw \
    --rgw-frontends="beast $listens ssl_certificate=$D/server.pem ssl_private_key=$D/server.key" \
    >"$D/log/gateway" 2>&1 </dev/null &
gateway=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$http") 2>/dev/null; do
    kill -0 $gateway
    sleep 0.1
done
echo ready

cat >/dev/null
trap - ERR
kill -9 -1 || true
wait || true
rm -rf "$D"
