# Sourced by run.sh, test.sh and .ci/run. set_up [extra]: makes .venv once, installs the project into it as
# editable, with an extra of pyproject.toml, and does so again when what is required has changed.

say() { printf '%s\n' "$*" >&2; }

apt_install() { # Debian or Ubuntu packages; fails where that would need a password
  command -v apt-get >/dev/null || return 1
  local as=()
  [ "$(id -u)" = 0 ] || as=(sudo -n)
  "${as[@]}" apt-get update -qq >&2 || true
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
}

make_venv() { # with the first Python that is new enough
  for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
    "$python" -m venv .venv >/dev/null && return
    rm -rf .venv
    say "This Python lacks its venv module; installing it"
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" &&
      "$python" -m venv .venv && return
  done
  say "Python 3.10 or newer is needed: sudo apt-get install python3 python3-venv"
  return 1
}

install_torch() { # the CPU build where there is no GPU: it is a tenth of the size
  .venv/bin/python -c 'import torch' 2>/dev/null && return
  nvidia-smi -L >/dev/null 2>&1 || {
    .venv/bin/pip install -q -c constraints.txt uv && UV_HTTP_RETRIES=1 .venv/bin/uv pip install -q \
      --python .venv/bin/python --torch-backend cpu -c constraints.txt torch 2>/dev/null && return
    say "uv finds no CPU build of torch here; taking the build that pip finds"
  }
  .venv/bin/pip install -q -c constraints.txt torch
}

set_up() {
  local stamp
  stamp=.venv/.made-from-$( (echo "$@" && cat pyproject.toml constraints.txt requirements.txt) | sha256sum | cut -c1-16)
  [ -f "$stamp" ] && return
  [ -x .venv/bin/python ] || make_venv || return 1
  say "Setting up .venv (the first time takes a few minutes)"
  .venv/bin/pip install -q --upgrade "pip>=24" || return 1
  install_torch || return 1
  # uv, which install_torch may have brought, takes a fraction of pip's time.
  { [ -x .venv/bin/uv ] && UV_HTTP_RETRIES=1 .venv/bin/uv pip install -q --python .venv/bin/python \
    -c constraints.txt -e ".${1:+[$1]}" 2>/dev/null; } ||
    .venv/bin/pip install -q -c constraints.txt -e ".${1:+[$1]}" || return 1
  touch "$stamp"
}

want_poppler() { # renders PDFs; pypdfium2 takes over without it, so a failure is no more than a hint
  command -v pdftoppm >/dev/null || apt_install poppler-utils ||
    say "Tip: sudo apt-get install poppler-utils (PDF pages are rendered by pypdfium2 until then)"
}
