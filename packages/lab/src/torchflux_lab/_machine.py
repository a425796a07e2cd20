"""The machine that a run has: interpreter, platform, processor, threads, device."""

import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["SETTINGS", "machine", "processors", "settings"]

#: Variables that change numbers; those that are set are recorded, and set again where a run is reproduced.
SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "MKL_CBWR",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
)

# Instruction sets by which numerical libraries choose their kernels, as Linux names them.
FEATURES = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "asimdhp", "sve", "sve2", "bf16", "i8mm"),
)


def machine() -> dict[str, Any]:
    """What this machine is. Imports nothing: of threads and device PyTorch is asked if it is loaded."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": f"{', '.join(platform.python_build())}, {platform.python_compiler()}",
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()).strip() or "none",
        "architecture": platform.machine(),
        "processor": _cpuinfo("model name") or platform.processor() or "unknown",
        "features": " ".join(_features()) or "unknown",
        "processors": processors(),
        "threads": _threads(),
        "device": _device(),
    }


def settings() -> dict[str, str]:
    """The variables that change numbers and are set here."""
    return {name: os.environ[name] for name in SETTINGS if name in os.environ}


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int:
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else processors()


def _device() -> str:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return str(cuda.get_device_name()) if cuda and cuda.is_initialized() else "cpu"


def _features() -> list[str]:
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [feature for feature in FEATURES if feature in flags]


def _cpuinfo(field: str) -> str:
    """What Linux says of the first processor; empty elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""
