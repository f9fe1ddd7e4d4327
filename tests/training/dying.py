"""training.train in a process that dies where the environment says: rank, step, where and how."""

import multiprocessing
import os
import signal
import sys

from training import train
from training.engine import loop, run

RANK, STEP, WHERE, HOW = os.environ.get("DIE", "0 0 nowhere error").split()
take_step, batch_losses, save_weights = loop.take_step, loop.batch_losses, run.save_weights
steps = 0


def die():
    if os.environ.get("RANK", "0") == RANK and steps == int(STEP):
        if HOW == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if HOW == "worker":
            # One of those that load its clips.
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            return
        raise RuntimeError(f"rank {RANK} dies in step {STEP}")


def dying_step(state, *rest):
    global steps
    steps = state.step
    return take_step(state, *rest)


def dying_losses(*given):
    losses = batch_losses(*given)
    if WHERE == "call":
        die()
    return losses


def dying_save(*given):
    save_weights(*given)
    if WHERE == "checkpoint":
        die()


if __name__ == "__main__":
    loop.take_step, loop.batch_losses, run.save_weights = dying_step, dying_losses, dying_save
    train.main(sys.argv[1:])
