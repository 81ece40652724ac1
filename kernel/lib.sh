# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the project's shell scripts share: refusals in one sentence, packages
# from Debian without questions, and long steps that show how far they are.
# Source it; it runs nothing by itself and needs bash 4.4 or newer.
#
#   bario_top                        the checkout's top folder
#   bario_build_dir                  the folder for everything built
#   bario_die MESSAGE...             end with one sentence
#   bario_need_root WHAT             ... unless this is root
#   bario_need_debian                ... unless this is Debian 12 or 13 on amd64
#   bario_need_disk DIR MIB WHAT     ... unless DIR's file system has that much room
#   bario_apt_missing PKG...         print those that are not installed
#   bario_apt_install PKG...         install those, asking nothing
#   bario_apt_fetch DIR PKG...       unpack those below DIR, installing nothing
#   bario_progress NAME LOG [LINES] -- COMMAND...   run it and show how it goes
#
# A refusal leaves the machine as it was: everything is checked, and every
# package is downloaded to a folder of ours, before the first change.

# The name that messages begin with, and the status that a refusal ends with.
: "${BARIO_NAME:=${0##*/}}"
: "${BARIO_DIE_STATUS:=1}"

bario_top() {
	(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
}

bario_build_dir() {
	local dir=${BARIO_BUILD:-$(bario_top)/build}

	mkdir -p -- "$dir/log" || bario_die "cannot make the build folder $dir"
	(cd -- "$dir" && pwd -P)
}

bario_die() {
	printf '%s: %s\n' "$BARIO_NAME" "$*" >&2
	exit "$BARIO_DIE_STATUS"
}

bario_need_root() {
	[[ $(id -u) == 0 ]] || bario_die "needs root ${1:-here}; run it with sudo or as root"
}

bario_need_debian() {
	local ID='' VERSION_ID='' PRETTY_NAME='another system' file=${BARIO_OS_RELEASE:-/etc/os-release}

	# shellcheck source=/dev/null
	[[ -r $file ]] && . "$file"
	[[ $ID == debian && ( $VERSION_ID == 12 || $VERSION_ID == 13 ) ]] ||
		bario_die "needs Debian 12 or 13, and this is $PRETTY_NAME"
	[[ $(uname -m) == x86_64 ]] ||
		bario_die "needs a 64-bit x86 machine, and this is $(uname -m)"
}

# The folder need not exist yet: its nearest parent that does is asked.
bario_need_disk() {
	local dir=$1 need=$2 what=$3 free

	while [[ ! -d $dir ]]; do dir=$(dirname -- "$dir"); done
	free=$(df -Pm -- "$dir" | awk 'NR == 2 { print $4 }')
	((free >= need)) ||
		bario_die "$what needs $need MiB of disk space below $dir, and $free MiB are free"
}

bario_apt_missing() {
	local pkg state

	for pkg; do
		state=$(dpkg-query -Wf '${db:Status-Status}' "$pkg" 2>/dev/null || true)
		[[ $state == installed ]] || printf '%s\n' "$pkg"
	done
}

# apt with no questions, and with limits where the mirror does not answer. What
# it downloads goes below build/, so that a failed download leaves no trace.
_bario_apt() {
	local build

	build=$(bario_build_dir)
	mkdir -p -- "$build/apt/archives/partial"
	DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o Dir::Cache::archives="$build/apt/archives" \
		-o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300 \
		-o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
		-o Acquire::https::Timeout=20 -o Dpkg::Use-Pty=0 \
		-o Binary::apt-get::APT::Keep-Downloaded-Packages=true \
		-o APT::Keep-Downloaded-Packages=true "$@" </dev/null
}

# apt's verb, tried with the package lists that are there, and with fresh ones
# when that failed: lists are missing on a new machine and grow stale on an old.
_bario_apt_retry() {
	_bario_apt "$@" && return
	[[ $(id -u) == 0 ]] || return
	_bario_apt update && _bario_apt "$@"
}

# Everything that is installed by this comes from Debian's own mirror, as the
# machine's apt is set up.
bario_apt_install() {
	local missing log size

	mapfile -t missing < <(bario_apt_missing "$@")
	((${#missing[@]})) || return 0
	bario_need_debian
	bario_need_root "to install ${missing[*]}"
	bario_need_disk /usr "${BARIO_APT_MIB:-1500}" "installing ${missing[*]}"
	log=$(bario_build_dir)/log/apt-install.log
	size=${#missing[@]}
	bario_progress "downloading $size packages from Debian" "$log" -- \
		_bario_apt_retry install --no-install-recommends --download-only "${missing[@]}" ||
		bario_die "no Debian mirror gave the packages ${missing[*]}; see $log"
	bario_progress "installing $size packages" "$log" -- \
		_bario_apt install --no-install-recommends "${missing[@]}" ||
		bario_die "apt-get could not install ${missing[*]}; see $log"
}

# What apt would install for these packages, as package names: the packages and
# their dependencies as far as this machine does not have them.
_bario_apt_closure() {
	apt-get -s -q --no-install-recommends install "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p'
}

# Packages whose programs run elsewhere, in the guest: unpacked, no scripts run.
# A package that the machine has already is not fetched; its files are here.
bario_apt_fetch() {
	local dir=$1 log build want deb pkg debs
	local -a extra=()

	shift
	bario_need_debian
	bario_need_disk "$dir" "${BARIO_APT_MIB:-1500}" "unpacking $*"
	build=$(bario_build_dir)
	log=$build/log/apt-fetch.log
	if ! want=$(_bario_apt_closure "$@" 2>"$log"); then
		bario_need_root "for apt-get update"
		_bario_apt update >>"$log" 2>&1 || true
		want=$(_bario_apt_closure "$@" 2>>"$log") ||
			bario_die "no Debian mirror knows the packages $*; see $log"
	fi
	mapfile -t extra < <(grep . <<<"$want" || true)
	mkdir -p -- "$build/apt" "$dir"
	debs=$(mktemp -d "$build/apt/fetch.XXXXXX")
	((${#extra[@]} == 0)) ||
		bario_progress "downloading ${#extra[@]} packages for the guest" "$log" -- \
			_bario_fetch_into "$debs" "${extra[@]}" ||
		bario_die "no Debian mirror gave the packages ${extra[*]}; see $log"
	for pkg in "${extra[@]}"; do
		for deb in "$debs/${pkg%%:*}"_*.deb; do
			dpkg-deb -x "$deb" "$dir" || bario_die "cannot unpack $deb"
		done
	done
	rm -rf -- "$debs"
}

_bario_fetch_into() {
	local dir=$1

	shift
	cd -- "$dir" && _bario_apt_retry download "$@"
}

_bario_clock() {
	local s=$1

	if ((s < 60)); then echo "$s s"; else echo "$((s / 60)) min $((s % 60)) s"; fi
}

# How far a log has come against the number of lines it is expected to have.
_bario_progress_line() {
	local name=$1 log=$2 total=$3 since=$4 lines last far=''

	lines=$(wc -l <"$log")
	if ((total)); then
		far=$((lines < total ? lines * 100 / total : 99))%
	else
		last=$(tail -n 1 -- "$log" | tr -cd '[:print:]' | cut -c 1-48)
		far="line $lines${last:+: $last}"
	fi
	printf '%s: %s, %s' "$name" "$far" "$(_bario_clock $((SECONDS - since)))"
}

# Run COMMAND with its output in LOG and say on standard error what is done, how
# far it is and how long it has taken: a line that changes on a terminal, one
# every 15 seconds elsewhere; BARIO_PROGRESS_S is another period, so that a test
# need not wait so long. LINES is how long the log usually gets, for a percentage.
# Ends with COMMAND's status, after the log's tail where it failed. COMMAND is a
# program, or a function that returns its status by itself: bash has no set -e
# inside a condition. A subshell, so that its signal handlers are its own: COMMAND
# is a process group that goes with it.
bario_progress() (
	name=$1 log=$2 total=0 job='' status='' since=$SECONDS every=15
	shift 2
	[[ $1 == -- ]] || { total=$1; shift; }
	shift
	set +e
	[[ -t 2 ]] && every=1
	every=${BARIO_PROGRESS_S:-$every}
	mkdir -p -- "$(dirname -- "$log")"
	: >>"$log"
	first=$(($(wc -c <"$log") + 1))
	if [[ -t 2 ]]; then printf '%s ...' "$name" >&2; else printf '%s ...\n' "$name" >&2; fi

	pipe=$(mktemp -u "${TMPDIR:-/tmp}/bario-progress.XXXXXX")
	mkfifo -m 600 "$pipe" || exit 1
	exec {ends}<>"$pipe"
	rm -f -- "$pipe"
	# shellcheck disable=SC2317,SC2329 # called by the traps
	stop() {
		trap - "$1"
		[[ -n $job ]] && kill -TERM -- "-$job" 2>/dev/null
		[[ -t 2 ]] && printf '\n' >&2
		kill -s "$1" "$BASHPID"
	}
	for sig in INT TERM HUP; do
		# shellcheck disable=SC2064 # the name of the signal, now
		trap "stop $sig" "$sig"
	done
	set -m
	{
		(exec {ends}>&-; "$@") >>"$log" 2>&1 </dev/null
		echo "$?" >&"$ends"
	} &
	job=$!
	set +m
	# A read whose time is over may have taken the first byte already.
	until read -r -t "$every" -u "$ends" part; do
		status+=$part
		if [[ -t 2 ]]; then
			printf '\r\033[K%s' "$(_bario_progress_line "$name" "$log" "$total" "$since")" >&2
		else
			printf '%s\n' "$(_bario_progress_line "$name" "$log" "$total" "$since")" >&2
		fi
	done
	status+=$part
	[[ -t 2 ]] && printf '\r\033[K' >&2
	if ((status == 0)); then
		printf '%s: done in %s\n' "$name" "$(_bario_clock $((SECONDS - since)))" >&2
	else
		printf '%s: failed after %s, the end of %s:\n' "$name" "$(_bario_clock $((SECONDS - since)))" "$log" >&2
		tail -c "+$first" -- "$log" | tail -n 15 | sed 's/^/    /' >&2
	fi
	exit "$status"
)
