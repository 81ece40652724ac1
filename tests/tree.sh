# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What every file of the checkout owes. Each function takes the top folder of a tree
# and prints those that owe something, one a line, nothing where all is well:
#
#   tree_files ROOT            all files, those that git ignores and build/ aside
#   tree_shell_files ROOT      those of them that are shell scripts, or parts of one
#   tree_unmarked ROOT         executable without "#!", or the other way round
#   tree_unlicensed ROOT       sources without the SPDX line that their place wants
#   tree_unfinished ROOT       lines with a word that says there is work left
#   tree_mentions ROOT WORD... lines with one of the words

tree_files()
{
	local file

	if [[ -e $1/.git ]]; then
		git -C "$1" -c core.quotePath=false ls-files -co --exclude-standard -- . ':!build'
	else
		(cd -- "$1" && find . -path ./build -prune -o -type f -printf '%P\n')
	fi | LC_ALL=C sort -u | while read -r file; do
		[[ ! -f $1/$file || -L $1/$file ]] || printf '%s\n' "$file"
	done
}

_tree_script()
{
	local magic=''

	LC_ALL=C read -r -N 2 magic <"$1" 2>/dev/null || true
	[[ $magic == '#!' ]]
}

tree_shell_files()
{
	local file

	tree_files "$1" | while read -r file; do
		if [[ $file == *.sh ]] || sed -n '/^#!.*[/ ]\(ba\)\?sh\b/p; /^# shellcheck shell=/p; 3q' "$1/$file" 2>/dev/null | grep -qa .; then
			printf '%s\n' "$file"
		fi
	done
}

tree_unmarked()
{
	local file

	tree_files "$1" | while read -r file; do
		if _tree_script "$1/$file"; then
			[[ -x $1/$file ]] || echo "$file begins with #! and is not executable"
		else
			[[ ! -x $1/$file ]] || echo "$file is executable and does not begin with #!"
		fi
	done
}

# Kernel code is for the kernel alone; the library goes into anything; the rest is
# free to follow later versions.
_tree_license()
{
	case $1 in
	include/uapi/*) echo 'GPL-2.0*WITH Linux-syscall-note*' ;;
	block/* | nvme/* | io_uring/* | vfio/* | include/* | tests/kunit/*) echo 'GPL-2.0-only' ;;
	user/lib/*.[ch]) echo 'LGPL-2.1-or-later OR MIT' ;;
	*) echo 'GPL-2.0-or-later*' ;;
	esac
}

_tree_source()
{
	case $2 in
	*.[chS] | *.awk | *.py | *.sh | Makefile | */Makefile | Kbuild | */Kbuild | Kconfig* | */Kconfig*) ;;
	*) _tree_script "$1/$2" ;;
	esac
}

tree_unlicensed()
{
	local file said

	tree_files "$1" | while read -r file; do
		_tree_source "$1" "$file" || continue
		said=$(sed -n 's|^[^A-Za-z]*SPDX-License-Identifier: \(.*\)|\1|p; 3q' "$1/$file")
		said=${said% \*/}
		# shellcheck disable=SC2053 # it is a pattern
		[[ $said == $(_tree_license "$file") ]] || echo "$file: ${said:-no SPDX line}"
	done
}

# Of a patch only what it adds is ours.
tree_unfinished()
{
	local file words='\b(TO''DO|FIX''ME|X''XX)\b'

	tree_files "$1" | while read -r file; do
		case $file in
		*.patch) grep -nIE "^\+.*$words" "$1/$file" || true ;;
		*) grep -nIE "$words" "$1/$file" || true ;;
		esac | sed "s|^|$file:|"
	done
}

tree_mentions()
{
	local root=$1 file

	shift
	tree_files "$root" | while read -r file; do
		printf '%s\n' "$@" | grep -nIiF -f - "$root/$file" | sed "s|^|$file:|" || true
	done
}
