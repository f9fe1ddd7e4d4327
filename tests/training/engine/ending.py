"""A process that ends as it is told, one word a rank: `ok`, `wait`, an exit status or a signal."""

import os
import signal
import sys
import time
from pathlib import Path

how = sys.argv[1:][int(os.environ["RANK"])]
if how == "wait":
    # The launcher is told to end once it has started this.
    Path(os.environ["STARTED"]).touch()
    time.sleep(600)
if how.startswith("SIG"):
    os.kill(os.getpid(), signal.Signals[how])
if how.isdecimal():
    print(f"rank {os.environ['RANK']} says why", file=sys.stderr)
    sys.exit(int(how))
