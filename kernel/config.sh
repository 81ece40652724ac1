# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shellcheck disable=SC2154 # top and tree are the caller's
#
# Kernel configurations: tinyconfig and the fragments of kernel/config, checked to
# have come out as asked. Source it after kernel/series.sh.
#
#   release   kernel/config/release.config
#   debug     that and kernel/config/debug.config
#   kcsan     release and kernel/config/kcsan.config
#   stock     release, for a tree that does not know our symbols
#   off       release, with all our symbols off
#   style     release, and our KUnit tests
#   partial   kernel/config/series.config, for a tree that knows some of our symbols

# Everything that goes into the objects' content is fixed, and relative to the tree:
# ccache then serves every checkout.
kmake()
{
	local out=$1 checks=()

	shift
	# otherwise only with CONFIG_SLUB_DEBUG_ON, which KASAN makes too slow
	[[ $out != o-debug ]] || checks=(CFLAGS_dmapool.o=-DDMAPOOL_DEBUG=1)
	make -C "$tree" O="$out" CC="ccache gcc" HOSTCC="ccache gcc" LOCALVERSION= \
		KBUILD_BUILD_TIMESTAMP=2024-11-17 KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_USER=bario KBUILD_BUILD_HOST=bario "${checks[@]}" "$@"
}

# The symbols that our work adds to the tree.
our_symbols()
{
	k diff --no-ext-diff base -- '*Kconfig*' | sed -n 's/^+\(menu\)\?config \([A-Z0-9_]*\)$/CONFIG_\2/p'
}

# config_fragment KIND: all fragments of that kind as one.
config_fragment()
{
	local kind=$1 dir=$top/kernel/config ours

	ours=$(our_symbols | paste -sd '|')
	ours="^(${ours:-none})="
	case $kind in
	release) cat "$dir/release.config" ;;
	debug) cat "$dir/release.config" "$dir/debug.config" ;;
	kcsan) cat "$dir/release.config" "$dir/kcsan.config" ;;
	stock) grep -Ev "$(config_named)" "$dir/release.config" ;;
	partial)
		cat "$dir/series.config"
		grep -E "$ours" "$dir/release.config" || true
		;;
	off)
		grep -Ev "$ours" "$dir/release.config"
		our_symbols | sed 's/$/=n/'
		;;
	style)
		cat "$dir/release.config"
		grep -E '^CONFIG_KUNIT' "$dir/debug.config"
		grep -E "$ours" "$dir/debug.config" || true
		;;
	*) bario_die "there is no configuration $kind" ;;
	esac
}

# Our symbols as release.config has them, as a pattern: a tree without our code cannot
# tell which they are. A symbol missing from that list shows as soon as stock is made.
config_named()
{
	echo "^($(sed -n '/^# bario itself/,/^$/s/^\(CONFIG_[A-Z0-9_]*\)=.*/\1/p' "$top/kernel/config/release.config" | paste -sd '|'))="
}

# The pristine tree beside $tree, a git worktree.
stock_checkout()
{
	local stock=$tree-stock log=$1

	k worktree prune
	[[ ! -e $stock/.git ]] || return 0
	: >"$log"
	bario_progress "checking out the stock kernel" "$log" -- \
		git -C "$tree" worktree add -f --detach "$stock" base ||
		bario_die "could not check out $stock; see $log"
}

# config_check FRAGMENT CONFIG: every symbol of the fragment has its last value.
config_check()
{
	awk -F = '
		/^# CONFIG_.* is not set$/ { split($0, w, " "); $0 = w[2] "=n" }
		!/^CONFIG_/ { next }
		{ value = substr($0, length($1) + 2) }
		NR == FNR { want[$1] = value; next }
		{ have[$1] = value }
		END {
			for (s in want) {
				got = s in have ? have[s] : "n"
				if (got != want[s]) {
					print s " is " got ", asked for: " want[s]
					bad = 1
				}
			}
			exit bad
		}' "$1" "$2"
}

# What a configuration depends on, as one word.
config_key()
{
	{
		config_fragment "$1"
		cat "$top/kernel/config.sh"
		gcc --version
		(cd -- "$tree" && git ls-files -z '*Kconfig*' 'scripts/kconfig/*' kernel/configs | xargs -0 cat --)
	} | sha256sum | cut -d ' ' -f 1
}

# config_make KIND OUT LOG: $tree/OUT/.config, left alone where nothing changes.
config_make()
{
	local kind=$1 out=$2 log=$3 dir=$tree/$2 key new=.config.new
	local -x KCONFIG_CONFIG=$new

	key=$(config_key "$kind")
	[[ -s $dir/.config && $(cat "$dir/.bario-config" 2>/dev/null) == "$key" ]] && return
	mkdir -p -- "$dir"
	config_fragment "$kind" >"$dir/.bario-fragment"
	{
		kmake "$out" tinyconfig &&
			(cd -- "$dir" && "$tree/scripts/kconfig/merge_config.sh" -m -Q "$new" .bario-fragment) &&
			kmake "$out" olddefconfig
	} >>"$log" 2>&1 </dev/null || bario_die "could not make the configuration $kind; see $log"
	config_check "$dir/.bario-fragment" "$dir/$new" >"$dir/.bario-bad" || {
		sed 's/^/    /' "$dir/.bario-bad" >&2
		bario_die "the configuration $kind did not come out as kernel/config asks for"
	}
	if cmp -s "$dir/$new" "$dir/.config"; then
		rm -f -- "$dir/$new"
	else
		mv -- "$dir/$new" "$dir/.config"
	fi
	rm -f -- "$dir/$new.old" "$dir/.bario-bad"
	echo "$key" >"$dir/.bario-config"
}
