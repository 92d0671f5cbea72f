#!/bin/sh
# Runs every tests/test_*.sh; red when one of them is.
cd "$(dirname "$0")/.." || exit 1
for test in tests/test_*.sh; do
    [ -e "$test" ] || continue
    if sh "$test"; then
        echo "ok   $test"
    else
        echo "FAIL $test"
        exit 1
    fi
done
