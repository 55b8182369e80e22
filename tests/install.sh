#!/usr/bin/env bash
# install.sh in a clean root: install, start, upgrade, verify, refuse a lost key, remove.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(mktemp -d)
server=""
cleanup() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$root"; }
trap cleanup EXIT
export VYNOS_BINARY=target/debug/vynos
fail() { echo "install test: $1" >&2; exit 1; }
passed=0
ok() { passed=$((passed + 1)); }

./install.sh --root "$root" --listen 127.0.0.1:0 --url https://localhost:18999 > "$root/out"
key="$root/etc/vynos/master.key"
[ "$(stat -c %a "$key")" = 600 ] || fail "the key is not private"; ok
[ "$(stat -c %a "$root/var/lib/vynos")" = 700 ] || fail "the data directory is not private"; ok
code=$(sed -n 's/^Setup code: //p' "$root/out")
[ -n "$code" ] || fail "no setup code was printed"; ok

"$root/usr/local/bin/vynos" serve --config "$root/etc/vynos/vynos.toml" > "$root/serve" 2>"$root/log" &
server=$!
# Reads the output as it comes, until the code stands there or the server has ended.
(set +o pipefail; tail -n +1 -F --pid="$server" "$root/serve" 2>/dev/null | grep -q -m1 "$code") || fail "serve did not start with this code"; ok
kill -TERM "$server"
wait "$server" || fail "serve did not end with 0"; ok
server=""

before=$(sha256sum "$key")
./install.sh --root "$root" > "$root/again"
[ "$before" = "$(sha256sum "$key")" ] || fail "the upgrade changed the key"; ok
"$root/usr/local/bin/vynos" verify --config "$root/etc/vynos/vynos.toml" > "$root/verified" || fail "verify"; ok
grep -q "every page opens" "$root/verified" || fail "verify said nothing"; ok

vynos="$root/usr/local/bin/vynos"
"$vynos" export --config "$root/etc/vynos/vynos.toml" --out "$root/a.vynos" > /dev/null || fail "export"; ok
[ "$(stat -c %a "$root/a.vynos")" = 600 ] || fail "the backup is not private"; ok
"$vynos" verify "$root/a.vynos" --master-key-file "$key" | grep -q "Every seal and checksum holds" || fail "verify of the backup"; ok
"$vynos" import "$root/a.vynos" --data-dir "$root/restored" --master-key-file "$key" > /dev/null || fail "import"; ok
"$vynos" verify --data-dir "$root/restored" --master-key-file "$key" > /dev/null || fail "verify of what was restored"; ok

mv "$key" "$root/lost.key"
if ./install.sh --root "$root" > /dev/null 2> "$root/err"; then fail "a new key was made over sealed data"; fi
grep -q "put the key back" "$root/err" || fail "the lost key was not told"; ok
[ ! -e "$key" ] || fail "a key was made"; ok
mv "$root/lost.key" "$key"

./install.sh --demo > "$root/demo" 2> "$root/log" &
server=$!
(set +o pipefail; tail -n +1 -F --pid="$server" "$root/demo" 2>/dev/null | grep -q -m1 "/demo/") || fail "the demo gave no link"; ok
link=$(grep -o 'http://localhost[^ ]*' "$root/demo" | head -1)
curl -sL -c "$root/jar" -b "$root/jar" "$link" | grep -q "Production" || fail "the link is not signed in"; ok
kill -TERM "$server"
wait "$server" || fail "the demo did not end with 0"; ok
server=""

./install.sh --root "$root" --uninstall > /dev/null
[ -e "$root/var/lib/vynos/VERSION" ] && [ ! -e "$root/usr/local/bin/vynos" ] || fail "uninstall"; ok
./install.sh --root "$root" --uninstall --purge > /dev/null
[ ! -e "$root/var/lib/vynos" ] && [ ! -e "$key" ] || fail "purge"; ok
echo "$passed passed, 0 failed"
