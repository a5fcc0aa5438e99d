"""The command line. Heavy modules are imported inside the command that needs them."""

from __future__ import annotations

from dpcenet.cli import (
    benchmark,
    cite,
    complete,
    data,
    demo,
    export,
    export_nnunet,
    list_all,
    page,
    segment,
    task,
    train,
)
from dpcenet.cli.app import app

__all__ = [
    "app",
    "benchmark",
    "cite",
    "complete",
    "data",
    "demo",
    "export",
    "export_nnunet",
    "list_all",
    "page",
    "segment",
    "task",
    "train",
]
