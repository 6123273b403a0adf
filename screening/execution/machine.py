"""The machine a campaign ran on: processor, and the kernels its linear algebra chose for it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Processor, cores, BLAS libraries with the kernel each uses, and vector instructions of torch.

    The last digits of a table may differ between kernels; nothing else does.
    """
    blas = [
        {
            "library": found["internal_api"],
            "version": found["version"],
            "kernel": found.get("architecture", ""),
            "threads": found["num_threads"],
        }
        for found in threadpool_info()
        if found["user_api"] == "blas"
    ]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "blas": blas,
        "torch": {
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
    }


def processor() -> str:
    """Name of the processor, as the system gives it."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
