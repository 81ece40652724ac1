#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The PRP lists of commands and the table of extents against a model of the
# controller, as a program on the host with address and undefined sanitizers.
# timeout: 300
# needs: nothing
set -euo pipefail

top=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
build=${BARIO_BUILD:-$top/build}

make -s -C "$top/tests/host" BARIO_BUILD="$build" >&2
exec "$build/tests/host/prp_model"
