"""Starts a command as several processes: torch's launcher, without its traceback and notices.

    python -m training.preparing.processes 8 training.prepare_clips source=...

A recording that cannot be prepared, or a user's mistake, makes a process end with a status other
than 0 after it has said why. The launcher's own traceback would bury that.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main(words: Sequence[str]) -> int:
    """Starts COUNT processes of MODULE with its arguments, and waits for them.

    Args:
        words: COUNT, MODULE, and the module's arguments.

    Returns:
        The exit status: that of the process that failed first, or 0; 128 and the number of the
        signal that ended it, as in a shell.
    """
    count, module, *rest = words
    if not count.isdecimal() or not int(count):
        print(f"PROCESSES={count}: must be a number, 1 or more", file=sys.stderr)
        return 2
    # The launcher warns if it has to choose this.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.disable(logging.ERROR)
    launch = ["--standalone", f"--nproc-per-node={count}", "-m", module, *rest]
    try:
        run(parse_args(launch))
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode < 0:
            print(
                f"process {rank} of {count} was ended by {first.signal_name()}; if memory ran out, "
                "set a lower PROCESSES=",
                file=sys.stderr,
            )
        return first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    except SignalException as signalled:
        print(f"all processes were ended by {signalled.sigval.name}", file=sys.stderr)
        return 128 + signalled.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
