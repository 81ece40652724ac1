# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of refusals share. Source it after tests/vm/tap.sh:
#
#   refused COMMAND...   run it: its status is in $refused_status, its output in
#                        $scratch/out and $scratch/err, and $refused_changes says
#                        what it changed of the packages of this machine, if anything
#   dead_mirror          print a file for APT_CONFIG: an apt whose only mirror is a
#                        port where nobody listens

# shellcheck disable=SC2034,SC2154 # the results are for the tests, scratch is tap.sh's

# The state of the machine as far as apt and dpkg keep it.
_package_state() {
	stat -c '%n %Y %i' /var/lib/dpkg/status
	dpkg-query -W | sha1sum
}

# Somebody else may install a package just then. A command that changes something does
# it each time, so a single time without a change is proof enough.
refused() {
	local before after attempt

	for attempt in 1 2 3 4 5; do
		before=$(_package_state)
		refused_status=0
		"$@" >"$scratch/out" 2>"$scratch/err" </dev/null || refused_status=$?
		after=$(_package_state)
		refused_changes=''
		[[ $before != "$after" ]] || return 0
		refused_changes="attempt $attempt: $after, before: $before"
	done
}

dead_mirror() {
	mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/none"
	echo 'deb [trusted=yes] http://127.0.0.1:9/debian stable main' >"$scratch/apt/sources"
	cat >"$scratch/apt/conf" <<-CONF
		Dir::State::lists "$scratch/apt/lists";
		Dir::Etc::sourcelist "$scratch/apt/sources";
		Dir::Etc::sourceparts "$scratch/apt/none";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
	CONF
	echo "$scratch/apt/conf"
}
