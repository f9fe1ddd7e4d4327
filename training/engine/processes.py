"""Starts a command as several processes: torch's or accelerate's launcher, without its traceback.

    python -m training.engine.processes 8 training.prepare_clips source=...
    python -m training.engine.processes --config_file configs/accelerate/eight_gpus_ddp.yaml \
        -m training.train config=...

A user's mistake, or a recording that cannot be prepared, makes a process end with a status other
than 0 after it has said why. The launchers would bury that under fifty lines of their own.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Sequence

from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main(words: Sequence[str]) -> int:
    """Starts the processes, and waits for them.

    Args:
        words: COUNT, MODULE and the module's arguments, for torch's launcher; or the options of
            `accelerate launch`, which begin with `--`.

    Returns:
        The exit status: that of a process that failed, or 0; 128 and the number of the signal that
        ended it, as in a shell.
    """
    by_accelerate = words[0].startswith("--")
    if not by_accelerate and not (words[0].isdecimal() and int(words[0])):
        print(f"PROCESSES={words[0]}: must be a number, 1 or more", file=sys.stderr)
        return 2
    # Such as torch's note that it gives each of several processes one thread.
    logging.disable(logging.ERROR)
    try:
        if by_accelerate:
            launch_command(launch_command_parser().parse_args(words))
        else:
            run(parse_args(["--standalone", f"--nproc-per-node={words[0]}", "-m", *words[1:]]))
    except ChildFailedError as failed:
        return _status({rank: one.exitcode for rank, one in failed.failures.items()})
    except subprocess.CalledProcessError as failed:
        return _status({0: failed.returncode})
    except SignalException as signalled:
        print(f"all processes were ended by {signalled.sigval.name}", file=sys.stderr)
        return 128 + signalled.sigval
    return 0


def _status(code_by_rank: dict[int, int]) -> int:
    """The status of a process that failed by itself, not because the launcher ended it then."""
    codes = sorted(code_by_rank.items(), key=lambda one: (one[1] <= 0, one[1] == -signal.SIGTERM))
    rank, code = codes[0]
    if code > 0:
        return code
    name = signal.Signals(-code).name
    print(f"process {rank} was ended by {name}; did memory run out?", file=sys.stderr)
    return 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
