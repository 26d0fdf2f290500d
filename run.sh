#!/usr/bin/env bash
# Set everything up and start the app at http://127.0.0.1:7860
set -euo pipefail
cd "$(dirname "$0")"
. scripts/setup.sh
set_up requirements.txt
want_poppler
# Reading the sample corpus takes a minute, once; from then on the app starts in seconds.
ls "${METAEMBED_CACHE:-.cache}"/samples-*/manifest.json >/dev/null 2>&1 || .venv/bin/python -m metaembed_demo samples
exec .venv/bin/python app.py "$@"
