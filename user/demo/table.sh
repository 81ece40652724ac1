# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the demo prints: the guest's facts and the host's own, for a human.

# shellcheck disable=SC2154 # run sets what is not set here

# The value of KEY in a line of key=value words; nothing if it has none.
field() {
	sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$2"
}

# A size as people say it.
human() {
	local n=$1

	if ((n >= 1048576 && n % 1048576 == 0)); then
		echo "$((n / 1048576)) MiB"
	elif ((n >= 1048576)); then
		awk -v n="$n" 'BEGIN { printf "%.1f MiB\n", n / 1048576 }'
	elif ((n >= 1024 && n % 1024 == 0)); then
		echo "$((n / 1024)) KiB"
	else
		echo "$n B"
	fi
}

show_input() {
	printf 'The data: %s, %s bytes, %s kernel\n' "$input" "$input_size" "$kernel"
	printf 'Before each pass the BAR holds a new pattern, and its place on the drive other data.\n'
}

show_system() {
	local line

	line=$(grep '^system ' "$step.facts") || return 0
	printf '  Linux %s; drive %s (%s): commands of %s at most, MDTS %s; BAR %s of %s\n' \
		"$(field kernel "$line")" "$(field drive "$line")" "$(field drive_bdf "$line")" \
		"$(human "$(field ceiling "$line")")" "$(human "$(field mdts "$line")")" \
		"$(field bar "$line")" "$(field bar_bdf "$line")"
}

show_mapping() {
	local line=$1 where extents

	case $(field where "$line") in
	bar) where='the BAR itself' ;;
	iommu) where="which the IOMMU's page table sends to $(field phys "$line"), the BAR" ;;
	*) where='which is NOT the BAR' ;;
	esac
	extents=$(field extents "$line")
	printf '  opened by %s; mapping kind %s: %s in %s extent%s at DMA address %s,\n    %s\n' \
		"$(field mode "$line")" "$(field kind "$line")" "$(human "$(field length "$line")")" \
		"$extents" "$([[ $extents == 1 ]] || echo s)" "$(field dma "$line")" "$where"
}

row='  %-7s %9s %8s  %-11s  %-11s  %-7s  %-16s  %s\n'

table_head() {
	# shellcheck disable=SC2059 # the format is above
	printf "$row" '' 'bytes' '' 'commands in' 'out' 'copied' 'hash of the BAR' 'hash on the drive'
	# shellcheck disable=SC2059
	printf "$row" 'block' 'each way' 'requests' 'counted/due' 'counted/due' 'by CPU*' 'after the read' 'after power-off'
}

table_foot() {
	printf '  * swiotlb bounces/page cache insertions/copies of ours\n'
}

# One pass, both directions.
table_row() {
	local pass=$1 mode length target in out

	IFS=: read -r mode _ length target <<<"$pass"
	in=$(grep "^pass mode=$mode .* dir=read target=$target " "$step.facts" || true)
	out=$(grep "^pass mode=$mode .* dir=write target=$target " "$step.facts" || true)
	[[ -n $in && -n $out ]] || return 0
	# shellcheck disable=SC2059 # the format is above
	printf "$row" "$(human "$(field block "$in")")" "$(human "$length")" "$(field requests "$in")" \
		"$(field commands "$in")/$(field due "$in")" "$(field commands "$out")/$(field due "$out")" \
		"$(added bounces "$in" "$out")/$(added cached "$in" "$out")/$(added copies "$in" "$out")" \
		"$(field hash "$in")" "${target_hash[$target]}"
}

added() {
	echo $(($(field "$1" "$2") + $(field "$1" "$3")))
}

# What the same counters say of a transfer that goes the ordinary way.
show_control() {
	local line

	line=$(grep '^control ' "$step.facts") || return 0
	printf '  %-56s %-7s\n' "control: $(human "$(field bytes "$line")") by pread and memcpy" \
		"$(field bounces "$line")/$(field cached "$line")/$(field copies "$line")"
}

# The source on the drive, in the lengths that were moved.
show_source() {
	local length

	for length in $(printf '%s\n' "${!prefix_hash[@]}" | sort -n); do
		printf '  %-83s %s\n' "the source on the drive, $(human "$length")" "${prefix_hash[$length]}"
	done
}

show_topology() {
	local line pass mode

	show_system
	for mode in $(printf '%s\n' "${passes[@]%%:*}" | uniq); do
		line=$(grep "^map mode=$mode " "$step.facts") || continue
		show_mapping "$line"
		table_head
		for pass in "${passes[@]}"; do
			[[ ${pass%%:*} != "$mode" ]] || table_row "$pass"
		done
	done
	show_source
	show_control
	table_foot
}

show_control_machine() {
	table_head
	table_row "${passes[0]}"
	show_control
	table_foot
}

show_refusal() {
	local line

	show_system
	line=$(grep '^refused ' "$step.facts") || return 0
	printf 'registration: %s: %s\n' "$(field errno "$line")" "$(cut -d ' ' -f 3- <<<"$line")" |
		fold -s -w 90 | sed 's/^/  /; s/ *$//'
}
