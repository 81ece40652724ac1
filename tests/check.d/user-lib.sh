#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libbario on the host: its header alone in C and C++, the library and the programs
# without a warning from two compilers, and its own test under the address and
# undefined behaviour sanitizers, point by point.
# timeout: 300
# needs: nothing
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"
# shellcheck source=../../kernel/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../../kernel/lib.sh"

top=$(bario_top)
bario_apt_install gcc g++ clang make liburing-dev libxxhash-dev >&2
build=$(bario_build_dir)

# Compile a file that includes nothing but a header: alone LANGUAGE COMPILER [FLAG...]
alone()
{
	local language=$1 header

	shift
	for header in bario.h bario-uapi.h; do
		echo "#include \"$header\"" |
			"$@" -Wall -Wextra -Werror -I"$top/user/lib" -x "$language" -c - -o /dev/null || return
	done
}

ends 'the headers compile alone as C11 (gcc)' 0 alone c gcc -std=c11 -Wpedantic
ends 'the headers compile alone as C11 (clang)' 0 alone c clang -std=c11 -Wpedantic
ends 'the headers compile alone as C++11 (g++)' 0 alone c++ g++ -std=c++11
ends 'the headers compile alone as C++11 (clang)' 0 alone c++ clang++ -std=c++11
ends 'everything builds with gcc' 0 make -s -C "$top/user" BARIO_BUILD="$build/user-gcc" CC=gcc all test
ends 'everything builds with clang' 0 make -s -C "$top/user" BARIO_BUILD="$build/user-clang" CC=clang all test
ends 'everything builds with sanitizers' 0 make -s -C "$top/user" BARIO_BUILD="$build/user-asan" SANITIZE=1 all test

# A symbol that is neither public nor marked as our own would collide with others'.
strangers()
{
	nm -g --defined-only "$build/user-gcc/user/lib/libbario.a" |
		awk 'NF == 3 && $3 !~ /^(bario_|XXH|_?xxh)/ { print $3 }' | sort -u
}
same 'the library defines only names of its own' '' "$(strangers)"

# The library never prints, and no program of its user does it by accident.
printers()
{
	nm -u "$build/user-gcc/obj/user/lib/"*.o | grep -wE 'printf|puts|putchar|perror|stdout|stderr|syslog' || true
}
same 'the library does not print' '' "$(printers)"

# The test's own points, numbered on.
mkdir -- "$scratch/tree"
status=0
ASAN_OPTIONS=detect_leaks=1 "$build/user-asan/user/host/lib-test" "$scratch/tree" >"$scratch/points" 2>"$scratch/err" || status=$?
while read -r line; do
	case $line in
	ok*) point "${line#* - }" true ;;
	not*) point "${line#* - }" false ;;
	'#'*) echo "$line" ;;
	esac
done <"$scratch/points"
sed 's/^/# /' "$scratch/err"
same "the library's test came to its end" 0 "$status"
point "... with a plan" grep -q '^1\.\.[1-9]' "$scratch/points"

# The host's tool: what it writes is what it was given, and what it hashes, xxhsum would.
tool=$build/user-asan/user/host/bario-image
head -c 100000 /dev/urandom >"$scratch/input"
ends 'an image is made' 0 "$tool" make "$scratch/image" "$scratch/input" 4096 102400 1048576
point 'it holds the input' cmp -s -n 100000 -i 0:4096 "$scratch/input" "$scratch/image"
point 'zeroes behind it' cmp -s -n 2400 -i 104096:0 "$scratch/image" /dev/zero
point 'and no zeroes behind those' test "$(tail -c +106497 "$scratch/image" | tr -d '\0' | wc -c)" -gt 900000
same 'its size' 1048576 "$(stat -c %s "$scratch/image")"
same 'a part hashes as the input does' "$("$tool" hash "$scratch/input" 0 100000)" "$("$tool" hash "$scratch/image" 4096 100000)"
point 'another part does not' test "$("$tool" hash "$scratch/input" 0 100000)" != "$("$tool" hash "$scratch/image" 4095 100000)"
ends 'a part beyond the end is refused' 1 "$tool" hash "$scratch/image" 1048570 100
ends 'a negative offset is refused' 1 "$tool" hash "$scratch/image" -1 100
ends 'an input that does not fit is refused' 1 "$tool" make "$scratch/image" "$scratch/input" 4096 102400 102400
tap_end
