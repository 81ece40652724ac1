#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
# needs: release image
#
# A command in the guest gets its words, files and environment as given, and its
# output and status come back.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

mkdir -p "$scratch/folder/deep" "$scratch/lib"
cat >"$scratch/show" <<'SH'
#!/bin/sh
for word; do echo "[$word]"; done
echo "in $(pwd)"
echo "input: $(wc -c)"
echo "file: $(cat 'folder/deep/a file')"
folder/hello
echo "env: $BARIO_NVME $BARIO_BDF $BARIO_BAR $BARIO_TOPOLOGY"
test -b "$BARIO_NVME" && echo "a drive"
dd if="$BARIO_NVME" bs=1M count=1 2>/dev/null | od -An -c | head -n 1
echo "to stderr" >&2
sleep 1000 &
exit 7
SH
chmod +x "$scratch/show"
echo inside >"$scratch/folder/deep/a file"
# A program for the host's libc, with a library of its own beside it.
echo 'int seven(void) { return 7; }' | gcc -xc -shared -fPIC -o "$scratch/lib/libseven.so" -
printf %s '#include <stdio.h>
#include <pthread.h>
int seven(void);
static void *end(void *arg) { pthread_exit(arg); }
int main(void)
{
	pthread_t t;

	pthread_create(&t, NULL, end, NULL);
	pthread_join(t, NULL);
	printf("hello %d\n", seven());
	return 0;
}' | gcc -xc -o "$scratch/folder/hello" - -pthread -L"$scratch/lib" -lseven -Wl,-rpath,"$scratch/lib"
printf 'from the host' >"$scratch/drive"
truncate -s 512M "$scratch/drive"

# shellcheck disable=SC2016 # as given
ends 'the status comes back, and nothing waits for background processes' 7 \
	"$vm" --add "$scratch/show" --add "$scratch/folder" --drive "$scratch/drive" --timeout 100 -- \
	./show 'two words' '' '*' $'two\nlines' "it's \"quoted\"" '$HOME' '--kernel' $'tab\there'
wanted="[two words]
[]
[*]
[two
lines]
[it's \"quoted\"]
[\$HOME]
[--kernel]
[tab	here]
in /add
input: 0
file: inside
hello 7"
same 'words, place, input, added files and programs are as given' "$wanted" "$(head -n 13 "$scratch/out")"
point 'the environment is set' \
	grep -qE '^env: /dev/nvme[0-9]n1 [0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9] 2 ports-iommu$' "$scratch/out"
point 'the drive is a block device' grep -qx 'a drive' "$scratch/out"
point 'the drive has what the host wrote' grep -q 'f   r   o   m       t   h   e       h   o   s   t' "$scratch/out"
# ... but for what kernel/build says when another test has its tree
same 'standard error comes back by itself' 'to stderr' "$(grep -v '^build: waiting' "$scratch/err")"

head -c 2000000 /dev/urandom >"$scratch/random"
ends 'a long output comes back' 0 "$vm" --add "$scratch/random" --small -- cat random
point '... byte for byte' cmp "$scratch/out" "$scratch/random"
ends 'a command that is not there is 127' 127 "$vm" -- no-such-command
ends 'a command that a signal ends is 128 and the signal' 139 "$vm" --topology switch -- sh -c 'kill -SEGV $$'
# shellcheck disable=SC2016 # the guest's
printf 'echo "six times seven is $((6 * 7))"\nexit 9\n' >"$scratch/script"
shell() { "$vm" <"$scratch/script"; }
shell >"$scratch/out" 2>&1 && status=0 || status=$?
same 'without a command there is a shell, with its status' 9 "$status"
point '... that does what it is told' grep -q 'six times seven is 42' "$scratch/out"

# What the options and their defaults come to.
# shellcheck disable=SC2016 # the guest's
settings='echo "$(nproc) processors"; tr "\0" "\n" </vm/env | sed -n s/^VM_LIMIT_MS=//p'
ends 'instructions can be counted' 0 "$vm" --icount --topology switch -- sh -c "$settings"
# Its clock is not the host's, and so no limit for it.
same '... on one processor' '1 processors' "$(cat "$scratch/out")"
ends 'a machine may have three processors' 0 "$vm" --cpus 3 --topology switch -- sh -c "$settings"
# The guest ends the command three seconds before the host ends the machine.
same '... and has 300 seconds if nobody says how many' $'3 processors\n297000' "$(cat "$scratch/out")"

# A /dev/kvm that can be opened and runs nothing, as containers have it.
without_kvm() {
	# shellcheck disable=SC2016 # the inner shell's
	unshare --mount bash -c 'set -e; dev=$1; shift
		mkdir "$dev"
		mount -t tmpfs tmpfs "$dev"
		cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/fd "$dev/"
		cp -a "$dev/null" "$dev/kvm"
		mount --move "$dev" /dev
		exec "$@"' - "$scratch/dev" "$@"
}
if [[ $(id -u) == 0 ]] && without_kvm true 2>/dev/null; then
	rmdir "$scratch/dev"
	ends 'a useless /dev/kvm does no harm' 0 without_kvm "$vm" --topology switch -- true
else
	point 'a useless /dev/kvm does no harm # SKIP nothing can be mounted here' true
fi

# Two at once, each with a drive of its own, which keeps what was written.
for i in 1 2; do
	truncate -s 512M "$scratch/drive$i"
	"$vm" --drive "$scratch/drive$i" -- sh -c "echo machine $i | dd of=\$BARIO_NVME conv=fsync" \
		>"$scratch/out$i" 2>&1 &
	pids[i]=$!
done
for i in 1 2; do
	wait "${pids[i]}" && status=0 || status=$?
	same "machine $i of two at once ends well" 0 "$status"
	same "its drive has what it wrote" "machine $i" "$(head -c 9 "$scratch/drive$i")"
done
tap_end
