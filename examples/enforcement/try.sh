#!/bin/sh
# Two programs from Debian behind built-in proxies, from the first request to the red button. Run it as root on a machine
# of your own, in a checkout:
#   apt-get install -y nginx redis-server curl
#   sh examples/enforcement/try.sh
# It makes the system users web, catalogue and store where they are missing, and ends what it has started when you stop it.
set -eu
cd "$(dirname "$0")/../.."
DIR=$(mktemp -d)
chmod 711 "$DIR"
HERE=examples/enforcement
# Not npx: the users of the workloads have no home for it.
interlock() { bin/interlock.mjs "$@"; }
run() { echo; echo "\$ $*"; "$@" || true; }
waits_for() { i=0; until grep -q "$2" "$1" 2>/dev/null; do i=$((i + 1)); [ $i -lt 300 ] || { cat "$1"; exit 1; }; sleep 0.1; done; }
STARTED=
trap 'kill $STARTED 2>/dev/null || true; wait; rm -rf "$DIR"' EXIT
trap 'exit 130' INT TERM
start() { log=$1; shift; "$@" 2>"$DIR/$log.log" & STARTED="$! $STARTED"; }

# nginx on port 80 and redis on 6379, where systemd has not started them already.
curl -s -o "$DIR/page" http://127.0.0.1/ || nginx
redis-cli ping >"$DIR/pong" 2>&1 || redis-server --daemonize yes --save "" >"$DIR/redis.log"

# 1. Identities: a control plane, an agent, and an ID for each user.
STATE="--state $DIR/state"
interlock authority init --trust-domain example.org $STATE
start plane interlock authority serve --listen 127.0.0.1:8443 $STATE
waits_for "$DIR/plane.log" 'the control plane serves'
interlock identity rules apply $HERE/identities.yaml $STATE
(umask 077; interlock authority token node-1 $STATE >"$DIR/token" 2>/dev/null)
start agent interlock agent --server 127.0.0.1:8443 --join-token-file "$DIR/token" --state "$DIR/agent" --socket "$DIR/agent.sock"
waits_for "$DIR/agent.log" 'connected to the control plane'

# 2. A proxy for each workload, as its user.
for user in catalogue store web; do
  id $user >"$DIR/id" 2>&1 || useradd --system $user
  install -d -o $user -m 700 "$DIR/$user"
  start $user runuser -u $user -- bin/interlock.mjs proxy $HERE/$user-proxy.yaml \
    --server 127.0.0.1:8443 --workload-api "$DIR/agent.sock" --state "$DIR/$user"
done
for user in catalogue store web; do waits_for "$DIR/$user.log" 'the control plane is connected'; done
CATALOGUE=spiffe://example.org/ns/shop/sa/catalogue
STORE=spiffe://example.org/ns/shop/sa/store
get() { curl -s -o "$DIR/page" -w '%{http_code}\n' "$@"; }

# 3. The programs speak plain text to 127.0.0.1, as ever; what leaves is mutual TLS.
for i in 1 2 3; do get http://127.0.0.1:9001/ >"$DIR/code"; redis-cli -p 9002 set visits $i >"$DIR/pong"; done
run redis-cli -p 9002 get visits
sleep 2
run interlock proxies $STATE
run interlock access $STATE

# 4. Policies from what was seen, and what they would change.
run interlock propose --out "$DIR/policies" $STATE
run interlock rehearse "$DIR/policies" $STATE
run interlock policy apply "$DIR/policies" $STATE
run interlock promote $CATALOGUE --to shadow $STATE
run interlock promote $STORE --to shadow $STATE
run get http://127.0.0.1:9001/
run get http://127.0.0.1:9001/admin
run get http://127.0.0.1:7001/
sleep 2
run interlock shadow $STATE
run interlock release --drill $STATE
run interlock preflight $CATALOGUE $STATE

# 5. Enforced. One proxy each is no canary: all of it at once.
for id in $CATALOGUE $STORE; do
  run interlock promote $id --to canary --share 100% $STATE
  run interlock promote $id --to enforced $STATE
done
run get http://127.0.0.1:9001/
run get http://127.0.0.1:9001/admin
run get http://127.0.0.1:7001/
run redis-cli -p 9002 get visits
run redis-cli -p 7002 get visits
run tail -n 1 "$DIR/catalogue.log"
run interlock authentication $CATALOGUE strict $STATE
run curl -s http://127.0.0.1:7001/

# 6. The red button, from here and from the machine alone.
run interlock release --namespace shop --reason 'checkout is failing' --for 2h $STATE
run get http://127.0.0.1:9001/admin
run interlock arm --all $STATE
run get http://127.0.0.1:9001/admin
run interlock release --local --reason 'all else is down' --state "$DIR/catalogue"
run get http://127.0.0.1:9001/admin
run interlock arm --local --state "$DIR/catalogue"
run get http://127.0.0.1:9001/admin
run interlock policy list $STATE
