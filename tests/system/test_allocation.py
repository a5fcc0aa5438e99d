"""Freed memory is kept: blocks of a size that was there before come without new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource, sys, torch
from dpcenet.system.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # aligned blocks take a few rounds until one fits where another was
    torch.ones(2**24)
before = faults()
for _ in range(10):
    torch.ones(2**24)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_kept_memory_is_not_asked_for_again() -> None:
    found = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", PAGES, way], check=True, capture_output=True, text=True
            ).stdout
        )
        for way in ("given back", "kept")
    }
    assert found["kept"] < 0.1 * found["given back"]
