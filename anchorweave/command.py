"""Shared by all entry points: `--help`, and one-line messages without traceback for user errors.

An entry point ends with

    COMMAND = Command(main, RunConfig, "configs/tiny.yaml")

    if __name__ == "__main__":
        COMMAND.run()
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anchorweave.config import UnknownOptionError, default_values
from anchorweave.errors import ToldError
from anchorweave.option_help import help_text, options_of

# Equivalent to `--traceback` if set; subprocesses inherit it.
TRACEBACK_VARIABLE = "ANCHORWEAVE_TRACEBACK"
TRACEBACK, HELP = "--traceback", ("--help", "-h")
# Options of all entry points.
ALSO = {
    "config=FILE": "a YAML file of such options; later files override earlier ones, and OPTION="
    "VALUE overrides all of them. `base: FILE` in it names a file that it overrides.",
    TRACEBACK: "if an error ends the run, show the traceback; so does "
    f"{TRACEBACK_VARIABLE}=1 in the environment.",
    "--help": "this text.",
}
# Packages with entry points; searched only for a word that is not an option of the running one.
PACKAGES = ("training", "inference")
MISTAKE, INTERRUPTED = 2, 130
# Sent by a scheduler, a closed terminal or `kill`. By default they end a process immediately and
# leave temporary folders behind.
ENDING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Command:
    """An entry point.

    Args:
        main: does the work; receives the command-line words.
        schema: dataclass of its options.
        default: YAML file of default values; None = the defaults of the dataclass.
        first: option that a leading word without "=" is assigned to; None = none.
        preset: words inserted before the user's.
        also: accepted words that are not options, and their meaning.
    """

    main: Callable[[list[str]], object]
    schema: type
    default: str | None = None
    first: str | None = None
    preset: Sequence[str] = ()
    also: Mapping[str, str] = field(default_factory=dict)

    def run(self, words: Sequence[str] | None = None) -> None:
        """Run with the given command-line words.

        Args:
            words: the words; None = the arguments of this process.

        Raises:
            SystemExit: with 2, after one message, for user errors: an invalid value or word, or a
                file that is missing, damaged or cannot be written; with 128 plus the signal number
                on SIGTERM or SIGHUP, after cleaning up. All other errors propagate with their
                traceback.
        """
        words = list(sys.argv[1:] if words is None else words)
        with_traceback = TRACEBACK in words or bool(os.environ.get(TRACEBACK_VARIABLE))
        words = [word for word in words if word != TRACEBACK]
        if self.first and words and "=" not in words[0] and not words[0].startswith("-"):
            words[0] = f"{self.first}={words[0]}"
        try:
            with _ended_by_signals(self):
                if set(HELP) & set(words):
                    print(self.help())
                else:
                    self.main(words)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the output (`| head`) closed the pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (ValueError, OSError, ToldError) as error:
            if with_traceback:
                traceback.print_exc()
            print(self._told(error, with_traceback), file=sys.stderr, flush=True)
            sys.exit(MISTAKE)
        except KeyboardInterrupt:
            if with_traceback:
                traceback.print_exc()
            print(f"{self._name()}: stopped by Ctrl-C", file=sys.stderr, flush=True)
            sys.exit(INTERRUPTED)

    def help(self) -> str:
        """What `--help` prints."""
        about = sys.modules[self.main.__module__].__doc__ or ""
        also = {**self.also, **ALSO}
        defaults = default_values(self.schema, self.default, self.preset)
        return help_text(self._name(), about, self.schema, self.default, defaults, also)

    def _told(self, error: Exception, with_traceback: bool) -> str:
        message = str(error) or type(error).__name__
        if isinstance(error, UnknownOptionError):
            message += self._where_else(error.key)
        # File names may contain terminal control sequences.
        message = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in message)
        rank = f"rank {os.environ['RANK']}: " if int(os.environ.get("WORLD_SIZE", 1)) > 1 else ""
        more = "" if with_traceback else f"\n({TRACEBACK} shows the traceback, --help all options)"
        return f"{rank}{self._name()}: error: {message}{more}"

    def _where_else(self, key: str) -> str:
        """Suggests options and commands that an unknown word may have meant."""
        last = key.rpartition(".")[2]
        own = [
            option.key
            for option in options_of(self.schema)
            if not option.is_section and option.key.rpartition(".")[2] == last
        ]
        # The other stages of this command's package first.
        package = self._name().partition(".")[0]
        # If it is the last part of one of this command's options, that is probably meant.
        elsewhere = [pair for pair in options_elsewhere(key).items() if pair[0] == key or not own]
        mine = f"\nOptions of {self._name()} with this name: {', '.join(own)}" if own else ""
        return mine + "".join(
            f"\n{option} is an option of "
            + ", ".join(sorted(names, key=lambda name: name.partition(".")[0] != package))
            for option, names in elsewhere
        )

    def _name(self) -> str:
        spec = sys.modules[self.main.__module__].__spec__
        # Run by `python -m`, a module is called __main__; its spec has the name.
        return self.main.__module__ if spec is None else spec.name


@contextmanager
def _ended_by_signals(command: Command) -> Iterator[None]:
    """Context in which fatal signals raise SystemExit, so that everything is cleaned up.

    Training replaces these handlers by its own; ignored signals (`nohup`) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own, before = os.getpid(), {}

    def end(number: int, frame: object) -> None:
        # Once only: a second signal must not interrupt the cleanup.
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        if os.getpid() == own:
            message = f"{command._name()}: ended by {signal.Signals(number).name}"
            print(message, file=sys.stderr, flush=True)
        sys.exit(128 + number)

    for each in ENDING:
        if signal.getsignal(each) is signal.SIG_DFL:
            before[each] = signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def commands() -> dict[str, Command]:
    """All entry points by module name."""
    commands = {}
    for package in PACKAGES:
        for folder in importlib.import_module(package).__path__:
            for module in pkgutil.iter_modules([folder], f"{package}."):
                file = Path(folder, f"{module.name.rpartition('.')[2]}.py")
                if file.is_file() and "\nCOMMAND = Command(" in file.read_text(encoding="utf-8"):
                    commands[module.name] = importlib.import_module(module.name).COMMAND
    return commands


def options_elsewhere(key: str) -> dict[str, list[str]]:
    """Maps options to the entry points that have them: `key` itself, or options that end in it.

    Args:
        key: dotted, or only the last part, such as `chunk`.
    """
    same: dict[str, list[str]] = {}
    similar: dict[str, list[str]] = {}
    for name, command in commands().items():
        for option in options_of(command.schema):
            if option.key == key:
                same.setdefault(key, []).append(name)
            elif option.key.rpartition(".")[2] == key:
                similar.setdefault(option.key, []).append(name)
    return same or similar
