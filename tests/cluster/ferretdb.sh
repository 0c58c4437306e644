#!/usr/bin/env bash
# Leaves a root file system with a server that speaks the MongoDB wire protocol: FerretDB (from the Go module proxy) on
# PostgreSQL 18 with DocumentDB (from Debian sid), and a database that is set up already. tests/mongo_server.py runs it.
#
# usage: ferretdb.sh           builds what is missing, with the build's steps on standard output (Debian, root)
#        ferretdb.sh where     prints the directory and builds nothing; it is whole when it holds `complete`
# Needs Go 1.21 or newer (it fetches the toolchain that FerretDB asks for) and 2 GB of disk. About 5 minutes, once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
FERRETDB=2.7.0    # not in versions.env, which names the node image: PostgreSQL and DocumentDB are Debian sid's
scratch=${SESSIONSTORE_CACHE:-$HOME/.cache/sessionstore}/ferretdb
# The name says what it was built from, so that a changed recipe is a new directory.
recipe=$(cat "$here/ferretdb.sh" "$here/ferretdb.conf" | sha256sum | cut -c1-8)
whole=$scratch/root-$FERRETDB-$recipe
if [ "${1:-}" = where ]; then echo "$whole"; exit 0; fi

mkdir -p "$scratch"
exec 9>"$scratch/lock"
flock -n 9 || { echo "ferretdb: another run is building it; waiting"; flock 9; }
[ -e "$whole/complete" ] && exit 0
if [ "$(id -u)" != 0 ]; then
  echo "ferretdb: a Debian system is unpacked and entered with chroot, which needs root; run this as root" >&2
  exit 1
fi

began=$SECONDS
say() { printf 'ferretdb: %4d s  %s\n' $((SECONDS - began)) "$*"; }
log=$scratch/build.log
: >"$log"
sid=$scratch/sid-18     # a whole Debian, kept: a changed recipe takes from it again
building=$scratch/building
tidy() {
  local status=$?
  umount "$sid/proc" "$sid/dev/shm" 2>/dev/null || true
  [ $status = 0 ] || { tail -n 30 "$log" >&2; echo "ferretdb: failed; the whole output is in $log" >&2; }
}
trap tidy EXIT

compile() {
  [ -x "$scratch/ferretdb-$FERRETDB" ] && return
  if ! command -v go >/dev/null; then
    echo "ferretdb: building it needs Go 1.21 or newer on the PATH" >&2
    exit 1
  fi
  say "compiling FerretDB $FERRETDB"
  mkdir -p "$scratch/mod-$FERRETDB"
  cd "$scratch/mod-$FERRETDB"
  printf 'module tools/ferretdb\n\ngo 1.24.0\n' >go.mod
  local package=github.com/FerretDB/FerretDB/v2/cmd/ferretdb
  go get -tool "$package@v$FERRETDB" >>"$log" 2>&1
  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags='-s -w' -o "$scratch/ferretdb.new" "$package" >>"$log" 2>&1
  mv "$scratch/ferretdb.new" "$scratch/ferretdb-$FERRETDB"
}

mirror() { # the host's own, where it is a Debian
  local found
  found=$(sed '/^ *#/d' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | grep -oE -m1 'https?://[^ ]+' || true)
  echo "${found:-http://deb.debian.org/debian}"
}

unpack_debian() {
  [ -e "$sid/complete" ] && return
  say "unpacking Debian sid with PostgreSQL 18 and DocumentDB"
  local attempt
  for attempt in 1 2 3; do # a mirror that answers most requests is the usual one
    rm -rf "$sid"
    debootstrap --variant=minbase sid "$sid" "$(mirror)" >>"$log" 2>&1 && break
    [ "$attempt" = 3 ] && exit 1
    sleep 5
  done
  printf '#!/bin/sh\nexit 101\n' >"$sid/usr/sbin/policy-rc.d" && chmod +x "$sid/usr/sbin/policy-rc.d"
  mkdir -p "$sid/etc/postgresql-common"
  echo 'create_main_cluster = false' >"$sid/etc/postgresql-common/createcluster.conf"
  mount -t proc proc "$sid/proc" && mount -t tmpfs shm "$sid/dev/shm"
  # The package list is debootstrap's own. No `apt-get update`: a mirror of snapshots serves an expired Release file.
  DEBIAN_FRONTEND=noninteractive chroot "$sid" \
    apt-get install -y -qq --no-install-recommends postgresql-18-documentdb >>"$log" 2>&1 </dev/null
  umount "$sid/proc" "$sid/dev/shm"
  rm -f "$sid"/var/cache/apt/archives/*.deb
  touch "$sid/complete"
}

server=usr/lib/postgresql/18 share=usr/share/postgresql/18

copy_server() { # the programs, the extensions, and the libraries that both load; nothing else
  say "picking the server out of it"
  local root=$1 file library real extension postgis
  mkdir -p "$root"/{usr/bin,usr/lib64,etc,tmp,dev/shm,proc,run,data,usr/share/zoneinfo,usr/lib/locale,$server/{bin,lib},$share/extension}
  ln -s usr/bin "$root/bin" && ln -s usr/lib "$root/lib" && ln -s usr/lib64 "$root/lib64"
  chmod 1777 "$root"/{tmp,run,dev/shm}
  mknod -m 666 "$root/dev/null" c 1 3
  mknod -m 666 "$root/dev/urandom" c 1 9
  ln -s /usr/share/zoneinfo/UTC "$root/etc/localtime"
  for file in postgres initdb pg_ctl psql; do cp "$sid/$server/bin/$file" "$root/$server/bin/"; done
  # LLVM and what else is only for other extensions would triple the size.
  find "$sid/$server/lib" -maxdepth 1 -name '*.so' ! -name 'postgis_raster*' ! -name 'postgis_sfcgal*' ! -name 'postgis_topology*' \
    ! -name 'address_standardizer*' ! -name 'llvmjit*' -exec cp -t "$root/$server/lib" {} +
  tar -C "$sid/$share" -c --exclude=man --exclude=extension . | tar -x -C "$root/$share"
  extension=$root/$share/extension
  (cd "$sid/$share/extension" && cp -aL plpgsql* tsm_system_rows* vector* pg_cron* documentdb* rum* postgis-3.control "$extension/")
  rm -f "$extension"/vector--*--*.sql
  # Debian's plain name is a link of the alternatives system.
  postgis=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" "$extension/postgis-3.control")
  cp "$extension/postgis-3.control" "$extension/postgis.control"
  cp -L "$sid/$share/extension/postgis--$postgis.sql" "$extension/" 2>/dev/null \
    || cp -L "$sid/$share/extension/postgis-3--$postgis.sql" "$extension/postgis--$postgis.sql"
  for file in UTC Etc; do cp -aL "$sid/usr/share/zoneinfo/$file" "$root/usr/share/zoneinfo/"; done
  cp -a "$sid/usr/lib/locale/C.utf8" "$root/usr/lib/locale/"
  cp "$sid/usr/bin/dash" "$root/usr/bin/sh"    # initdb and pg_ctl start theirs by it
  (cd "$root" && find "$server" usr/bin -type f -printf '/%p\n') | { while read -r file; do chroot "$sid" ldd "$file" 2>/dev/null || true; done; } \
    | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r library; do
      real=$(chroot "$sid" readlink -f "$library")
      mkdir -p "$root/$(dirname "$real")"
      cp -n "$sid$real" "$root$real"
      [ -e "$root$(dirname "$real")/$(basename "$library")" ] || ln -s "$(basename "$real")" "$root$(dirname "$real")/$(basename "$library")"
    done
  # The loader's own path is part of every program.
  library=$(cd "$sid" && find usr/lib64 usr/lib -maxdepth 1 -name 'ld-linux-*' | head -n 1)
  [ -e "$root/$library" ] || cp -L "$sid/$library" "$root/$library"
  cp "$scratch/ferretdb-$FERRETDB" "$root/usr/bin/ferretdb"
  printf 'root:x:0:0::/:/bin/sh\npostgres:x:10001:10001::/data:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\npostgres:x:10001:\n' >"$root/etc/group"
  printf 'passwd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
}

inside() { # inside ROOT PROGRAM ARGUMENT...: as the server's user
  LC_ALL=C.UTF-8 HOME=/tmp chroot --userspec=10001:10001 "$1" "/$server/bin/$2" "${@:3}" >>"$log" 2>&1 </dev/null
}

set_up_database() { # once here instead of at every start of a test's server: a copy starts ten times as fast
  say "setting up the database"
  local root=$1
  install -d -o 10001 -g 10001 -m 700 "$root/data/template"
  printf 'admin-of-the-tests' >"$root/tmp/password" && chown 10001 "$root/tmp/password"
  inside "$root" initdb -D /data/template -U admin --pwfile=/tmp/password --auth-local=trust --auth-host=reject \
    --encoding=UTF8 --locale=C.UTF-8
  rm "$root/tmp/password"
  cat "$here/ferretdb.conf" >>"$root/data/template/postgresql.conf"
  inside "$root" pg_ctl -D /data/template -w -l /tmp/setup.log start || { cat "$root/tmp/setup.log" >>"$log"; return 1; }
  inside "$root" psql -qX -v ON_ERROR_STOP=1 -h /run -U admin -d postgres -c 'CREATE EXTENSION documentdb CASCADE' \
    -c "SELECT cron.alter_job(jobid, schedule => '2 seconds') FROM cron.job WHERE jobname = 'documentdb_ttl_task'" \
    || { cat "$root/tmp/setup.log" >>"$log"; return 1; }
  inside "$root" pg_ctl -D /data/template -w -m fast stop
}

"$here/packages.sh" debootstrap:debootstrap unshare:util-linux
compile
unpack_debian
rm -rf "$building" && mkdir -p "$building"
copy_server "$building"
set_up_database "$building"
touch "$building/complete"
rm -rf "$whole" && mv "$building" "$whole"
say "$whole is there"
