"""Runs pytest on copies of the project, each time in a fork of this process, which has imported the libraries and no code
of ours.

Run as a script: a line of JSON with `folder`, `tests` and `output` on stdin is answered by the exit code on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# Whether a test fails does not depend on how its assertions are told, and the copies' tests would be rewritten for each run.
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "--assert", "plain", "--hypothesis-profile", "first_failure"]


def run(folder: str, tests: str, output: str) -> int:
    """Exit code of pytest on the tests of a folder; what it prints is in the file `output`."""
    child = os.fork()
    if child == 0:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(folder)
        sys.path[:0] = [folder]
        import pytest

        code = pytest.main([*OPTIONS, tests])
        sys.stdout.flush()
        os._exit(int(code))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Import the libraries, then answer one request after the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    # Without the package in `sys.modules`: it tells the libraries not to report to their vendors.
    runpy.run_path(str(PROJECT / "ml" / "__init__.py"))
    libraries = runpy.run_path(str(PROJECT / "deploy" / "libraries.py"))["LIBRARIES"]
    for library in (*libraries, "hypothesis", "pandas", "pytest"):
        import_module(library)
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() not in (PROJECT, PROJECT / "tests")]
    gc.collect()
    gc.freeze()  # pytest collects garbage at its end, and would look at every object of the libraries
    for line in sys.stdin:
        print(run(**json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
