# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's file system as cpio archives: the kernel unpacks any number of them
# one after the other. Each is staged as a folder whose layout is the guest's,
# with everything under usr/, and then packed.

# Where a library or the loader lives in the guest: /lib* are links into /usr,
# and what came out of a package unpacked below ROOT lies as if installed.
_vm_guest_path() {
	local root=$1 path=$2

	[[ -n $root && $path == "$root"/* ]] && path=${path#"$root"}
	case $path in
	/lib/* | /lib64/* | /bin/* | /sbin/*) path=/usr$path ;;
	esac
	printf '%s\n' "${path#/}"
}

# Those of the given files that are ELF and need the loader.
_vm_dynamic() {
	local file magic

	for file; do
		magic=''
		LC_ALL=C read -r -N 4 magic <"$file" 2>/dev/null || true
		[[ $magic == $'\x7fELF' ]] && printf '%s\n' "$file"
	done
	return 0
}

# The shared objects that FILE... need, as paths on this machine. ROOT holds
# unpacked packages ('' for none) and goes before the machine's own libraries.
vm_libraries() {
	local root=$1 out dirs=''
	local -a elf

	shift
	mapfile -t elf < <(_vm_dynamic "$@")
	((${#elf[@]})) || return 0
	# Some libraries name private folders by absolute paths, below /usr.
	[[ -z $root ]] || dirs=$(find "$root" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
	out=$(LD_LIBRARY_PATH=$dirs${VM_LIBRARY_PATH:-} ldd "${elf[@]}" 2>/dev/null) || true
	if grep -q 'not found' <<<"$out"; then
		grep 'not found' <<<"$out" | sort -u >&2
		return 1
	fi
	awk '$2 == "=>" && $3 ~ /^\// { print $3; any = 1 }
	     $1 ~ /^\/.*ld-linux/ { print $1; any = 1 }
	     END { if (any) print "libgcc_s.so.1" }' <<<"$out" | sort -u |
		while read -r lib; do
			# Needed by pthread_cancel and pthread_exit, which no header tells.
			[[ $lib == /* ]] || lib=$(gcc -print-file-name="$lib" 2>/dev/null || true)
			[[ $lib == /* ]] && realpath -s -- "$lib"
		done
	return 0
}

# Put one file at its place, links followed, its mode kept.
vm_put() {
	local stage=$1 from=$2 to=$3

	mkdir -p -- "$stage/$(dirname -- "$to")"
	cp -Lp --reflink=auto -- "$from" "$stage/$to"
}

# Put libraries where the guest's loader finds them. It knows the two standard
# folders only: another one below /usr, which a library may name, gets a link
# there, and a library from anywhere else is put there itself.
vm_put_libraries() {
	local stage=$1 root=$2 lib to standard=usr/lib/x86_64-linux-gnu

	while read -r lib; do
		to=$(_vm_guest_path "$root" "$lib")
		[[ $to == usr/* ]] || to=$standard/${lib##*/}
		[[ -e $stage/$to ]] || vm_put "$stage" "$lib" "$to"
		[[ ${to%/*} == "$standard" || ${to%/*} == usr/lib64 ]] && continue
		mkdir -p -- "$stage/$standard"
		ln -sfn -- "/$to" "$stage/$standard/${to##*/}"
	done
}

# Pack a stage into a file, in one move, everything owned by root.
vm_pack() {
	local stage=$1 archive=$2

	(cd -- "$stage" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio --quiet --null -o -H newc -R 0:0 --reproducible) >"$archive.new" &&
		mv -f -- "$archive.new" "$archive"
}
