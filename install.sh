#!/usr/bin/env bash
# Installs Vynos on this machine, or upgrades it: builds the binary (or takes the one beside this script),
# makes user, directories, master key, configuration and service unit, and prints the address and setup code.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: ./install.sh [options]
  --demo          build, then run `vynos demo` in the foreground; touches nothing outside
                  the checkout and a temporary directory
  --prefix DIR    where the binary goes             [default: /usr/local]
  --root DIR      install below this directory, as packagers do; implies --no-service
  --listen ADDR   address and port                  [default: 0.0.0.0:8443]
  --url URL       address people use                [default: https://<host name>:8443]
  --no-service    no system user and no service unit
  --uninstall     remove binary and unit; data, key and configuration stay
  --purge         with --uninstall: remove data, key and configuration too
Run it again to upgrade. The master key is never overwritten.
TEXT
}

prefix=/usr/local root="" listen="0.0.0.0:8443" url="" service=yes action=install purge=no
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix) prefix=$2; shift 2 ;;
    --demo) action=demo; shift ;;
    --root) root=$2; service=no; shift 2 ;;
    --listen) listen=$2; shift 2 ;;
    --url) url=$2; shift 2 ;;
    --no-service) service=no; shift ;;
    --uninstall) action=uninstall; shift ;;
    --purge) purge=yes; shift ;;
    -h|--help) usage; exit 0 ;;
    *) echo "install.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

here=$(cd "$(dirname "$0")" && pwd)
bin="$root$prefix/bin/vynos"
etc="$root/etc/vynos"
data="$root/var/lib/vynos"
unit="$root/etc/systemd/system/vynos.service"
key="$etc/master.key"
config="$etc/vynos.toml"
say() { printf '%s\n' "$*"; }
fail() { echo "install.sh: $1" >&2; exit 3; }
has_systemd() { [ "$service" = yes ] && [ -d /run/systemd/system ]; }

if [ "$action" = uninstall ]; then
  if has_systemd; then systemctl disable --now vynos.service 2>/dev/null || true; fi
  rm -f "$bin" "$unit"
  if [ "$purge" = yes ]; then
    rm -rf "$data" "$etc"
    say "Vynos is removed, with its data, key and configuration."
  else
    say "Vynos is removed. Data in $data and the key in $etc stay; --purge removes them."
  fi
  exit 0
fi

# The binary: the one beside this script, else built here.
find_binary() {
  if [ -x "$here/vynos" ]; then
    binary="$here/vynos"
  elif [ -n "${VYNOS_BINARY:-}" ]; then
    binary=$VYNOS_BINARY
  else
    command -v cargo >/dev/null || fail "there is no vynos binary beside this script and no cargo to build one"
    echo "Building Vynos. This takes some minutes." >&2
    (cd "$here" && cargo build --release --locked --quiet)
    binary="$here/target/release/vynos"
  fi
}

if [ "$action" = demo ]; then
  find_binary
  exec "$binary" demo
fi

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root, or give --root DIR"

# 1. The binary.
find_binary
install -D -m 0755 "$binary" "$bin.new"
mv -f "$bin.new" "$bin"

# 2. User and directories.
owner=$(id -un)
if [ "$service" = yes ]; then
  id vynos >/dev/null 2>&1 || useradd --system --home-dir /var/lib/vynos --shell /usr/sbin/nologin vynos
  owner=vynos
fi
install -d -m 0750 "$etc"
install -d -m 0700 "$data"

# 3. Master key: never overwritten, and never made anew beside data that an older one sealed.
if [ ! -e "$key" ]; then
  [ ! -e "$data/VERSION" ] || fail "$data holds sealed data but $key is missing; put the key back. Nothing was changed."
  "$bin" key create --master-key-file "$key" >/dev/null
fi

# 4. Configuration: kept when it is there.
if [ ! -e "$config" ]; then
  port=${listen##*:}
  [ -n "$url" ] || url="https://$(hostname -f 2>/dev/null || hostname):$port"
  cat > "$config" <<TOML
# Vynos. Every option can also be a flag or an environment variable; see vynos serve --help.
[server]
data_dir = "$data"
master_key_file = "$key"
listen = "$listen"
external_url = "$url"
TOML
fi
chmod 0600 "$key"
chmod 0640 "$config"
"$bin" config check --config "$config" >/dev/null || fail "the configuration in $config is not right; see the line above"
# Before the service takes the data; says nothing once setup has ended.
code=$("$bin" setup-code --config "$config" 2>/dev/null || true)
if [ "$service" = yes ]; then
  chown -R "$owner" "$data" "$etc"
fi

# 5. Service unit.
if [ "$service" = yes ]; then
  cat > "$unit" <<UNIT
[Unit]
Description=Vynos
After=network-online.target
Wants=network-online.target

[Service]
User=vynos
ExecStart=$bin serve --config $config
ExecReload=/bin/kill -HUP \$MAINPID
Restart=on-failure
TimeoutStopSec=40
LimitCORE=0
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
ReadWritePaths=$data

[Install]
WantedBy=multi-user.target
UNIT
fi
if has_systemd; then
  systemctl daemon-reload
  systemctl enable vynos.service >/dev/null 2>&1
  systemctl restart vynos.service
  say "Vynos runs as vynos.service."
else
  say "Start it with: $bin serve --config $config"
fi
say "Address: $(sed -n 's/^external_url = "\(.*\)"/\1/p' "$config")"
[ -z "$code" ] || say "Setup code: $code"
