#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 480
# needs: release image
#
# No change for others: liburing's own test programs end on our kernel as on stock,
# with the same exit status and first line of output, on the raw drive and on ext4.
# What stock gives is a list, tests/liburing/stock-results; equal is the bar, also
# where stock fails. A program that varies on stock may do any of what stock did,
# and its point says so. Options go to tests/vm/run.
set -euo pipefail

liburing=$(dirname "$(dirname "$(readlink -f "$0")")")/liburing
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

status=0
"$liburing/results" "$@" >"$scratch/out" || status=$?
grep -v '^result ' "$scratch/out" | sed '/^#/!s/^/# /' || true

awk -v status="$status" '
	function point(good, what)
	{
		if (!good)
			bad = 1
		printf "%s %d - %s\n", good ? "ok" : "not ok", ++points, what
	}

	# In words, from the third word of a line on.
	function way(words, line)
	{
		split(line, words, " ")
		line = substr(line, length(words[1]) + length(words[2]) + 3)
		sub(/ *$/, "", line)
		return "\"" line "\""
	}

	NR == FNR && /^# (kernel|liburing) / {
		print "# stock-results: " $2 " " $3
		next
	}
	NR == FNR && /^#/ { next }
	NR == FNR {
		if ($1 == "varies")
			sub(/^varies /, "")
		key = $1 " " $2
		if (!(key in stock))
			order[++keys] = key
		stock[key] = stock[key] (key in stock && stock[key] != "" ? " or " : "") way(words, $0)
		allowed[key, way(words, $0)] = 1
		ways[key]++
		next
	}
	$1 == "result" {
		key = $2 " " $3
		if (key in got)
			twice[key] = 1
		got[key] = way(words, substr($0, 8))
	}
	/^polling / { polling = $2 }
	/^the end$/ { complete = 1 }

	END {
		point(polling == 1, "the drive has poll queues")
		for (i = 1; i <= keys; i++) {
			key = order[i]
			note = ways[key] > 1 ? " (varies on stock)" : ""
			good = (key in got) && !(key in twice) && ((key, got[key]) in allowed)
			point(good, key note)
			if (!good)
				print "#   stock: " stock[key] "\n#   here: " \
					((key in got) ? got[key] : "nothing")
		}
		for (key in got)
			if (!(key in stock))
				point(0, key " is not in stock-results; make stock-baseline takes it")
		point(complete && status == 0, "the machine ends well (status " status ")")
		print "1.." points
		exit bad
	}' "$liburing/stock-results" "$scratch/out"
