#!/usr/bin/env bash
# Compare requirements.lock with the index's list of known vulnerabilities (pip-audit). It warns and never fails:
# a new entry there says nothing about the change at hand, and without a network there is nothing to ask.
# AUDIT_SECONDS (30) is the most it takes. pip-audit is installed into .cache/audit, apart from the app.
set -u # and no pipefail: pip-audit ends with 1 where it has found something
cd "$(dirname "$0")/.."

say() { printf 'audit: %s\n' "$*"; }

if [ "${1:-}" != --now ]; then
  seconds=${AUDIT_SECONDS:-30}
  timeout --kill-after=2 "$seconds" bash "$0" --now || {
    [ $? -ge 124 ] && say "nothing found out within $seconds s. Run scripts/audit.sh with AUDIT_SECONDS=300."
  }
  exit 0
fi

home=.cache/audit
pins=$home/pins.txt
python=.venv/bin/python
[ -x "$python" ] || python=python3

ask() { # the pins of a file -> pip-audit's answer as JSON; its exit status is 1 where it found something
  "$home/bin/pip-audit" --disable-pip --no-deps --progress-spinner off --format json -r "$1" 2>"$home/log"
}

tell() { # pip-audit's answer -> one line for each finding, and what was asked; fails where nothing could be
  "$python" -c '
import json, sys
found = json.load(sys.stdin)["dependencies"]
asked = [d for d in found if "skip_reason" not in d]
bad = [(d, v) for d in asked for v in d["vulns"]]
for d, v in bad:
    fixed = ", ".join(v["fix_versions"]) or "no version"
    print("audit: WARNING", d["name"], d["version"], v["id"], "fixed in", fixed)
unasked = [d["name"] for d in found if "skip_reason" in d]
print(f"audit: {len(asked)} packages asked about, {len(bad)} known vulnerabilities")
if unasked:
    print(f"audit: nothing is known of {len(unasked)}: " + ", ".join(unasked[:9]))
sys.exit(not asked)
' 2>/dev/null
}

if [ ! -x "$home/bin/pip-audit" ]; then
  rm -rf "$home"
  if ! "$python" -m venv "$home" >/dev/null 2>&1 || ! "$home/bin/pip" install -q pip-audit >/dev/null 2>&1; then
    rm -rf "$home"
    say "pip-audit cannot be installed here; nothing was asked."
    exit 0
  fi
fi

grep -oE '^[a-z0-9][a-z0-9.-]*==[^ ;]+' requirements.lock >"$pins"
head -n 1 "$pins" >"$home/one.txt"
if ! ask "$home/one.txt" | tell >/dev/null 2>&1; then # one question first, instead of all of them in vain
  say "the list of known vulnerabilities cannot be reached from here; nothing was asked."
  exit 0
fi
ask "$pins" | tell || say "no answer: $(tail -n 1 "$home/log")"
