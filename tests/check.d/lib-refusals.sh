#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 120
# needs: nothing
#
# What is missing is said in one sentence, and nothing has changed then.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"
# shellcheck source-path=SCRIPTDIR source=../refusals.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../refusals.sh"

lib=$(dirname -- "$(readlink -f -- "$0")")/../../kernel/lib.sh
export BARIO_BUILD=$scratch/build
mkdir -m 777 "$BARIO_BUILD"
chmod 755 "$scratch"
# A package that no machine of ours has, and that any Debian has.
package=cowsay

# Functions of the library, called as a script would.
calls() {
	# shellcheck disable=SC2016 # the inner shell's
	"${as[@]}" bash -c 'set -euo pipefail; BARIO_NAME=test; . "$1"; shift; "$@"' - "$lib" "$@"
}

refuses() {
	local name=$1 words=$2

	shift 2
	refused calls "$@"
	same "$name ends with 1" 1 "$refused_status"
	point "... and one sentence that says what is missing" grep -qE "^test: .*$words" "$scratch/err"
	same "... one of ours, no more" 1 "$(grep -c '^test: ' "$scratch/err")"
	same "... and the machine is as it was" '' "$refused_changes"
}

as=(env)
if [[ -n $(calls bario_apt_missing "$package") ]]; then
	printf 'ID=fedora\nVERSION_ID=40\nPRETTY_NAME="Fedora Linux 40"\n' >"$scratch/os-release"
	as=(env BARIO_OS_RELEASE="$scratch/os-release")
	refuses 'another distribution' 'Debian 12 or 13, and this is Fedora Linux 40' bario_apt_install "$package"
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups env)
	refuses 'no root' 'needs root' bario_apt_install "$package"
	as=(env BARIO_APT_MIB=99999999)
	refuses 'no disk space' 'needs 99999999 MiB of disk space below /usr, and [0-9]+ MiB are free' \
		bario_apt_install "$package"
	as=(env APT_CONFIG="$(dead_mirror)")
	refuses 'no mirror' "no Debian mirror gave the packages $package" bario_apt_install "$package"
	mkdir "$scratch/root"
	refuses 'no mirror for the guest' "no Debian mirror knows the packages $package" \
		bario_apt_fetch "$scratch/root" "$package"
	same '... and nothing is unpacked' '' "$(ls "$scratch/root")"
else
	point "what is missing is said # SKIP $package is installed here, so its installation cannot be refused" true
fi

as=(env)
ends 'what is there is not installed' 0 calls bario_apt_install bash coreutils
same '... and nothing is said' '' "$(cat "$scratch/out" "$scratch/err")"
ends 'an absent folder asks its parent for room' 0 calls bario_need_disk "$scratch/not/yet" 1 'a test'

ends 'a step that works says so' 0 calls bario_progress 'the step' "$scratch/log" -- echo words
point '... with its time' grep -qE '^the step: done in [0-9]+ s$' "$scratch/err"
same '... its output in the log' words "$(cat "$scratch/log")"
ends 'a step that fails has its status' 3 calls bario_progress 'the step' "$scratch/log" -- sh -c 'echo the cause; exit 3'
point '... and shows its end' grep -q '^    the cause' "$scratch/err"
point '... and names its log' grep -qF "$scratch/log" "$scratch/err"

# How far a step is that takes long. It goes on when the words have been shown,
# however late that is: a limit is only for those that never are.
shows() {
	local words=$1

	shift
	rm -f "$scratch/long"
	# shellcheck disable=SC2016 # the inner shell's
	BARIO_PROGRESS_S=0.1 calls bario_progress 'the step' "$scratch/long" "$@" -- \
		timeout 20 bash -c 'printf "one\ntwo\nthree\n"; until grep -qE "$1" "$2"; do sleep 0.1; done' \
		- "$words" "$scratch/err"
}
ends 'a long step shows percent and time' 0 shows '^the step: 75%, [0-9]+ s$' 4
ends '... never more than 99 of them' 0 shows '^the step: 99%, [0-9]+ s$' 2
ends '... without a total, its last line' 0 shows '^the step: line 3: three, [0-9]+ s$'

# An interrupted step takes what it started with it. The signal goes to the whole
# process group, as a terminal and timeout send it.
as=(exec setsid env)
mkfifo "$scratch/alive"
# shellcheck disable=SC2016 # the inner shell's
calls bario_progress 'the step' "$scratch/log" -- sh -c 'exec >"$1"; echo here; sleep 1000' - "$scratch/alive" \
	>/dev/null 2>&1 &
step=$!
exec {alive}<"$scratch/alive"
read -r -t 20 -u "$alive" line || line=nothing
same 'a step runs' here "$line"
kill -TERM -- "-$step"
point 'an interrupted step ends with all it started' timeout 10 cat <&"$alive"
wait "$step" 2>/dev/null || true
tap_end
