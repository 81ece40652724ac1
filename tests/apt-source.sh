# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The source of a Debian package, by apt's own means and without a change to the
# system's apt. Source it after kernel/lib.sh:
#
#   apt_source DIR LOG PACKAGE VERSION [RELEASE]
#       puts the files of that version's source package into DIR, which is there. It
#       comes from the mirror that this machine's apt is set up with, by a list of its
#       own below build/, which names this machine's release and RELEASE.
#
# Unpack it with dpkg-source --no-check -x: apt has checked it.

# "REPOSITORY RELEASE FILE" of the main Debian archives that apt knows, FILE being
# the list that says so.
_apt_archives()
{
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(CODENAME) $(REPO_URI) $(SOURCESENTRY) $(ORIGIN)' |
		awk '$1 == "Packages" && $2 == "main" && $3 !~ /-/ && $6 == "Debian" { print $4, $3, $5 }' |
		sed 's/:[0-9]*$//' | sort -u
}

# What stands in the list that apt trusts the archive by: "[signed-by=KEYRING] " or
# nothing.
_apt_trust()
{
	sed -n 's/^Signed-By: *\(\/[^ ]*\).*/[signed-by=\1] /p; s/^deb .*signed-by=\(\/[^] ]*\).*/[signed-by=\1] /p' "$1" |
		sed -n 1p
}

_apt_write_list()
{
	local apt=$1 log=$2 release=$3 found repository codename file name

	found=$(_apt_archives)
	if [[ -z $found && $(id -u) == 0 ]]; then
		apt-get -q update >>"$log" 2>&1 || true
		found=$(_apt_archives)
	fi
	[[ $found ]] || bario_die "apt knows no Debian archive; set one up and run apt-get update"
	while read -r repository codename file; do
		for name in "$codename" ${release:+"$release"}; do
			echo "deb-src $(_apt_trust "$file")$repository $name main"
		done
	done <<<"$found" | sort -u >"$apt/sources.list"
}

_apt_private()
{
	local apt=$1

	shift
	apt-get -q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" \
		-o APT::Sandbox::User=root -o Acquire::Retries=2 \
		-o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

# A mirror need not carry both releases: what update says does not matter, but
# whether the source comes.
_apt_download()
{
	local apt=$1 dir=$2 what=$3

	_apt_private "$apt" update || true
	cd -- "$dir" && _apt_private "$apt" source --download-only "$what"
}

apt_source()
{
	local dir=$1 log=$2 package=$3 version=$4 release=${5-} apt status=0

	apt=$(bario_build_dir)/apt/$package
	bario_apt_install dpkg-dev
	mkdir -p -- "$apt/lists/partial" "$apt/cache/archives/partial"
	_apt_write_list "$apt" "$log" "$release"
	bario_progress "downloading the source of $package $version" "$log" -- \
		_apt_download "$apt" "$dir" "$package=$version" || status=1
	rm -rf -- "$apt"
	((status == 0)) || bario_die "no Debian mirror gave the source of $package $version; see $log"
}
