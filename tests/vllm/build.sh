#!/usr/bin/env bash
# Builds what the vLLM tests serve: vLLM's CPU build in an environment of its own, and a tiny random Qwen3-VL.
#
#   tests/vllm/build.sh        makes .vllm/venv (2 GB) and .vllm/tiny-qwen3vl, or leaves them when they are up to date
#
# Needs Linux on x86-64, Python 3.11 or newer (another one: PYTHON=python3.12) and libnuma; no GPU and no compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

here=tests/vllm
out=.vllm
python=${PYTHON:-python3}
log=$out/build.log

fail() { printf 'error: %s\n' "$1" >&2; exit 1; }

# The last lines of what went wrong, and what to do about it.
fail_with_log() { tail -n 15 "$log" >&2; fail "$1"; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  fail "$python is missing or older than Python 3.11; name another one: PYTHON=python3.12"
"$python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null ||
  fail "vLLM needs libnuma; on Debian and Ubuntu: apt-get install libnuma1"

# The stamp is written last, so a build that was broken off is not taken for one.
ingredients=$({ "$python" --version; cat $here/{build.sh,requirements.txt,torchvision_without_ops.py,write_tiny_qwen3vl.py}; } | sha256sum)
if [[ -f $out/built && $(<$out/built) == "$ingredients" ]]; then
  echo "vLLM is built"
  exit
fi
rm -rf "$out/built" "$out/tiny-qwen3vl"
mkdir -p "$out"

echo "vLLM: installing into $out/venv (2 GB; a minute or two)"
"$python" -m venv --clear "$out/venv" >"$log" 2>&1 ||
  fail_with_log "$python cannot create virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
"$out/venv/bin/python" -m pip install --disable-pip-version-check --no-deps --no-compile -r $here/requirements.txt >>"$log" 2>&1 ||
  fail_with_log "pip failed; torch's +cpu build comes from the CPU wheel index that PyTorch's install page names (PIP_EXTRA_INDEX_URL)"

echo "vLLM: making torchvision importable"
packages=$("$out/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp $here/torchvision_without_ops.py "$packages"
echo 'import torchvision_without_ops' >"$packages/torchvision_without_ops.pth"

echo "vLLM: writing $out/tiny-qwen3vl"
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$out/venv/bin/python" $here/write_tiny_qwen3vl.py "$out/tiny-qwen3vl" >>"$log" 2>&1 ||
  fail_with_log "the model could not be written"

echo "$ingredients" >"$out/built"
echo "vLLM is built"
