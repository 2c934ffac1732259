"""What is kept under tests/fixtures of TensorFlow's arithmetic is what TensorFlow computes: ops and whole networks."""
import os
import subprocess
import sys

from shared import ROOT, check


def computed():
    """The scripts that wrote the files read them in a process of their own, run every case again and compare."""
    for script in ["ops.py", "networks.py"]:
        path = ROOT / "tests" / "fixtures" / "make" / script
        done = subprocess.run([sys.executable, path, "--check"], capture_output=True, text=True,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        lines = [line for line in done.stdout.splitlines() if line.endswith("as stored")]
        check(f"{script} finds again what it stored", done.returncode == 0 and lines, done.stderr[-2000:])
