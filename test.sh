#!/usr/bin/env bash
# Set everything up and run the tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/setup.sh
set_up requirements.txt requirements-dev.txt
want_poppler
command -v rsvg-convert >/dev/null || apt_install librsvg2-bin # draws the dev sets' clip art
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
  apt_install chromium || .venv/bin/python -m playwright install --with-deps chromium
exec .venv/bin/python -m pytest "$@"
