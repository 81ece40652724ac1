#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 120
# needs: nothing
#
# kernel/fetch and kernel/build that were ended in the middle leave nothing that a
# second call takes for whole, and a build goes on where it was; while they run they
# say how far they are. With a source archive and a kernel tree of a few files: what
# is tried is the scripts' part, and make's is make's.
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"
# shellcheck source=../../kernel/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../../kernel/lib.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")
bario_apt_install git xz-utils make gcc >&2
unset BARIO_LINUX BARIO_LOCK BARIO_LOCKED
export BARIO_BUILD=$scratch/build BARIO_PROGRESS_S=0.1
tree=$BARIO_BUILD/linux

t() { git -C "$tree" "$@"; }

# A step that finds $scratch/hold with its name in it says "here" to the test, and then
# waits for its end. Called by the stand-ins for tools below, and by the tree's Makefile.
mkfifo "$scratch/here"
cat >"$scratch/hold-at" <<-SH
	#!/bin/bash
	[[ ! -e '$scratch/hold' || \$(<'$scratch/hold') != "\$1" ]] && exit
	echo here >'$scratch/here'
	exec sleep 1000
SH
chmod +x "$scratch/hold-at"

# until_held WHERE PROGRESS COMMAND...: run COMMAND in a session of its own until it
# stands at WHERE and has shown a line like PROGRESS; then end all of it at once, as a
# fall of the machine does: nobody gets to tidy up.
until_held() {
	local where=$1 words=$2 line='' session shown=1

	shift 2
	echo "$where" >"$scratch/hold"
	setsid "$@" >"$scratch/out" 2>"$scratch/err" </dev/null &
	session=$!
	exec {here}<>"$scratch/here"
	read -r -t 60 -u "$here" line || true
	same "a call comes to $where" here "$line"
	# shellcheck disable=SC2016 # the inner shell's
	timeout 20 bash -c 'until grep -qE "$1" "$2"; do sleep 0.1; done' - "$words" "$scratch/err" || shown=0
	point '... shows percent and time' test "$shown" = 1
	pkill -KILL -s "$session"
	wait "$session" 2>/dev/null || true
	exec {here}>&-
	rm -f "$scratch/hold"
}

# The archive: files enough to stop between them, and what the scripts look for.
source=$scratch/source/linux-source-6.12
mkdir -p "$source/folder"
printf 'VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 999\nEXTRAVERSION =\n' >"$source/Makefile"
touch "$source/MAINTAINERS"
for i in {1..200}; do head -c 3000 /dev/urandom >"$source/folder/$i"; done
tar -cJf "$scratch/linux.tar.xz" -C "$scratch/source" linux-source-6.12
export BARIO_SOURCE=$scratch/linux.tar.xz

# tar gets half of the archive's contents, and git has not committed when it stops.
mkdir "$scratch/bin"
cat >"$scratch/bin/xz" <<-SH
	#!/bin/bash
	[[ -e '$scratch/hold' ]] || exec '$(command -v xz)' "\$@"
	'$(command -v xz)' "\$@" | { head -c 300000; '$scratch/hold-at' 'half an archive'; exec cat; }
SH
cat >"$scratch/bin/git" <<-SH
	#!/bin/bash
	[[ " \$* " != *' commit-tree '* ]] || '$scratch/hold-at' 'a tree without a commit'
	exec '$(command -v git)' "\$@"
SH
chmod +x "$scratch/bin"/*
fetch() { PATH=$scratch/bin:$PATH "$top/kernel/fetch"; }

whole() {
	local name=$1

	ends "$name fetches a tree" 0 fetch
	same '... says where' "$tree" "$(cat "$scratch/out")"
	point '... with every file' diff -r -x .git "$source" "$tree"
	same '... and a clean base' '1 ' "$(t rev-list --count base) $(t status --porcelain)"
}

whole 'an undisturbed call'
commit=$(t rev-parse base)
for where in 'half an archive' 'a tree without a commit'; do
	rm -rf -- "$BARIO_BUILD"
	until_held "$where" '^unpacking .*: [0-9]+%, [0-9]+ s$' env PATH="$scratch/bin:$PATH" "$top/kernel/fetch"
	point '... leaves no tree' test ! -e "$tree"
	whole 'the next one'
	same '... the same as ever' "$commit" "$(t rev-parse base)"
done
touch "$scratch/mark"
ends 'one more call is fine' 0 fetch
same '... and writes no file' '' "$(find "$tree" -newer "$scratch/mark" -type f ! -path '*/.git/*')"

# A kernel of four objects, whose build stops before the third.
tree=$scratch/kernel
export BARIO_LINUX=$tree
mkdir -p "$tree/scripts/kconfig"
cat >"$tree/Makefile" <<-MAKE
	VERSION = 6
	objects := \$(O)/1.o \$(O)/2.o \$(O)/3.o \$(O)/4.o
	image := \$(O)/arch/x86/boot/bzImage

	bzImage modules: \$(image)
	\$(image): \$(O)/vmlinux
	\t@mkdir -p \$(@D)
	\tcp \$< \$@
	\$(O)/vmlinux: \$(objects)
	\tcat \$^ >\$@
	\$(O)/%.o: %.c
	\t'$scratch/hold-at' \$*.o
	\t\$(CC) -c -o \$@ \$<
	tinyconfig:
	\t@: >\$(O)/\$(KCONFIG_CONFIG)
	olddefconfig:
	\t@:
	.NOTPARALLEL:
MAKE
sed -i 's/^\\t/\t/' "$tree/Makefile"
# shellcheck disable=SC2016 # the script's
printf '#!/bin/sh\ncat "$4" >"$3"\n' >"$tree/scripts/kconfig/merge_config.sh"
chmod +x "$tree/scripts/kconfig/merge_config.sh"
touch "$tree/Kconfig"
for i in 1 2 3 4; do echo "int f$i(void) { return $i; }" >"$tree/$i.c"; done
printf '/o-*/\n' >"$tree/.gitignore"
git init -q "$tree"
t add -A
t -c user.name=Tester -c user.email=tester@localhost commit -qm base
t tag base
out=$tree/o-release
build() { "$top/kernel/build" release; }
times() { (cd -- "$out" && find "$@" -type f -printf '%p %T@ %i\n' | sort); }

until_held 3.o '^building the release kernel: [0-9]+%, [0-9]+ s$' "$top/kernel/build" release
point '... leaves no kernel' test ! -e "$out/arch/x86/boot/bzImage"
same '... but what was built' '1.o 2.o' "$(cd -- "$out" && echo ?.o)"
before=$(times 1.o 2.o)
ends 'the next one builds a kernel' 0 build
same '... says where' "$out/arch/x86/boot/bzImage" "$(cat "$scratch/out")"
point '... a whole one' cmp "$out/arch/x86/boot/bzImage" <(cat "$out"/?.o)
same '... of what was built before' "$before" "$(times 1.o 2.o)"
same '... and what was not' '1.o 2.o 3.o 4.o' "$(cd -- "$out" && echo ?.o)"
before=$(times .)
ends 'one more call is fine' 0 build
same '... and writes no file' "$before" "$(times .)"
same '... and calls no make' '' "$(cat "$scratch/err")"
echo 'int f4(void) { return 44; }' >"$tree/4.c"
before=$(times 1.o 2.o 3.o)
ends 'a changed file is built' 0 build
point '... into the kernel' cmp "$out/arch/x86/boot/bzImage" <(cat "$out"/?.o)
same '... and nothing else' "$before" "$(times 1.o 2.o 3.o)"
tap_end
