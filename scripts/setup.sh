# Sourced by run.sh and test.sh: makes .venv once and keeps it in step with the requirements.
# Usage: set_up [requirements file...]

say() { printf '%s\n' "$*" >&2; }

as_root() { # run a command as root where that needs no password; else fail
  if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi
}

apt_install() { # Debian or Ubuntu packages; fails where they cannot be installed without asking
  command -v apt-get >/dev/null || return 1
  as_root apt-get update -qq >&2 || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
}

find_python() { # the first Python 3.10 or newer
  for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$python"
      return
    fi
  done
  return 1
}

make_venv() {
  local python
  python=$(find_python) || { say "Python 3.10 or newer is needed: apt-get install python3 python3-venv"; return 1; }
  "$python" -m venv .venv >/dev/null 2>&1 && return
  rm -rf .venv
  local version
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  say "Python lacks its venv module; installing it"
  apt_install "python$version-venv" || apt_install python3-venv ||
    { say "Please run: sudo apt-get install python3-venv"; return 1; }
  "$python" -m venv .venv
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }

install_torch() { # the CPU build where there is no GPU: it is a tenth of the size
  .venv/bin/python -c 'import torch' 2>/dev/null && return
  if ! has_gpu && plan=$(.venv/bin/pip install -q --dry-run --report - -c constraints.txt torch 2>/dev/null) &&
    printf '%s' "$plan" | grep -q '"nvidia'; then
    say "No GPU here: installing the CPU build of torch"
    .venv/bin/pip install -q uv && .venv/bin/uv pip install -q --python .venv/bin/python \
      --torch-backend cpu -c constraints.txt torch 2>/dev/null && return
    say "The CPU build is not to be had; taking the one for GPUs, which also runs here"
  fi
  .venv/bin/pip install -q -c constraints.txt torch
}

set_up() {
  local stamp
  stamp=.venv/.made-from-$(cat constraints.txt "$@" | sha256sum | cut -c1-16)
  [ -f "$stamp" ] && return
  [ -x .venv/bin/python ] || make_venv || return 1
  say "Setting up .venv (the first time takes a few minutes)"
  .venv/bin/pip install -q --upgrade "pip>=24" || return 1
  install_torch || return 1
  local requirements=()
  for file in "$@"; do requirements+=(-r "$file"); done
  .venv/bin/pip install -q -c constraints.txt "${requirements[@]}" || return 1
  touch "$stamp"
}

want_poppler() { # renders PDFs; pypdfium2 takes over without it, so a failure is no more than a hint
  command -v pdftoppm >/dev/null || apt_install poppler-utils ||
    say "Tip: sudo apt-get install poppler-utils (PDF pages are rendered by pypdfium2 until then)"
}
