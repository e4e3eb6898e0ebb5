"""The clean release build."""

import os
import subprocess
import time

from lab import ROOT, Row, folder


def measure(quick):
    if quick:
        return []
    with folder() as path:
        started = time.monotonic()
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "handover"], cwd=ROOT,
                       env={**os.environ, "CARGO_TARGET_DIR": str(path)}, check=True, capture_output=True)
        took = time.monotonic() - started
        size = (path / "release" / "handover").stat().st_size / 1e6
    return [Row("clean release build", f"{took:.0f} s ({size:.1f} MB)", "≤ 150 s on 2 cores", "", took <= 150)]
