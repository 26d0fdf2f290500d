#!/usr/bin/env bash
# Set everything up and run the tests. Arguments go to pytest: -m "not browser and not slow" is the quick part.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/setup.sh
set_up dev
want_poppler
command -v rsvg-convert >/dev/null || apt_install librsvg2-bin # draws the dev sets' clip art
[ -f /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || apt_install fonts-dejavu-core # tests typeset Cyrillic and Greek
command -v tesseract >/dev/null || apt_install tesseract-ocr tesseract-ocr-osd tesseract-ocr-rus || true
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
  apt_install chromium || .venv/bin/python -m playwright install --with-deps chromium
# One process a core, whole files each, in the order of tests/conftest.py; a thread each, since more would only wait
# for one another.
cores=$(.venv/bin/python -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
unset PYTHONDONTWRITEBYTECODE # the tests start many processes, each of which would compile this package again
exec .venv/bin/python -m pytest -n "$((cores < 4 ? cores : 4))" \
  --dist loadfile --no-loadscope-reorder "$@"
