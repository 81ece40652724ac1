# SPDX-License-Identifier: GPL-2.0-or-later
#
# The points of the programs that one machine ran, as one numbered list; see lib.sh.
# The first file has the command lines that were to run, the second the output.
# Variables: name (printed with each point), first (points so far), status (the
# machine's), said (why, in its words), tally (file for the number of points, and how many
# passed and failed). The points tell as much as they can: where the tests ran somewhere
# else, they may be all that anybody gets to see.

function point(ok, text, skipped)
{
	printf "%s %d - %s: %s\n", ok ? "ok" : "not ok", ++points, name, text
	if (!ok)
		failed++
	else if (!skipped)
		passed++
}

# What the program as a whole did wrong, if its points do not show it already.
function judge(code)
{
	if (bailed)
		return
	if (planned < 0)
		point(0, program ": ended without a plan, exit status " code)
	else if (seen != planned)
		point(0, program ": " seen " points, " planned " planned")
	else if (code != 0 && code != 4 && !(code == 1 && notok))
		point(0, program ": exit status " code)
	else if (code == 4 && seen != skips)
		point(0, program ": exit status 4 (skip), but not every point was skipped")
	else if (seen == 0 && !whole)
		point(0, program ": a plan of no points, and no reason")
}

# A line as part of a point, where "#" would begin a directive.
function quoted(line)
{
	gsub(/#/, "", line)
	return substr(line, 1, 160)
}

BEGIN { points = first }

FNR == NR { expected[++lines] = $0; next }

{ sub(/\r$/, "") }

/^##begin / {
	program = substr($0, 9)
	current++
	seen = notok = skips = bailed = whole = 0
	planned = -1
	open = 1
	last = "nothing"
	next
}

/^##end / {
	judge($2)
	open = 0
	next
}

/^##done$/ { done = 1; next }

{ last = $0 }

/^#/ { print; next }

!open { print "# " $0; next }

/^1\.\.0 *# *SKIP/ {
	planned = 0
	whole = 1
	sub(/^1\.\.0 *# *SKIP */, "")
	point(1, program " # SKIP " $0, 1)
	next
}

/^1\.\.[0-9]+/ { planned = substr($1, 4) + 0; next }

/^(not )?ok([ \t]|$)/ {
	ok = !/^not/
	skipped = /# *SKIP/
	number = ok ? $2 : $3
	seen++
	notok += !ok
	skips += skipped
	text = $0
	sub(/^(not )?ok +[0-9]* *(- )?/, "", text)
	if (number + 0 != seen) {
		ok = 0
		text = text " (point " number " comes as number " seen ")"
	}
	point(ok, program ": " text, skipped)
	next
}

/^Bail out!/ { bailed = 1; point(0, program ": " $0); next }

{ print "# " $0 }

END {
	if (open)
		point(0, program ": did not end; the last of it: " quoted(last))
	for (i = current + 1; i <= lines; i++)
		point(0, expected[i] ": was not started")
	why = status == 90 ? "the tool failed" : status == 91 ? "timeout or hang" : \
	      status == 92 ? "the kernel warned" : status == 93 ? "panic" : "status " status
	point(status == 0 && done, "the machine ends without warning, leak or hang" \
	      (status == 0 ? "" : " (" why (said == "" ? "" : ": " quoted(said)) ")"))
	print points, passed + 0, failed + 0 >tally
}
