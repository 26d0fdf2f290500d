#!/usr/bin/env bash
# Set everything up and start the app at http://127.0.0.1:7860
set -euo pipefail
cd "$(dirname "$0")"
. scripts/setup.sh
set_up
want_poppler
exec .venv/bin/python app.py "$@"
