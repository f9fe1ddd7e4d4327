"""Shared by all entry points: `--help`, and a single message without traceback for user errors.

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
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path

from anchorweave.config import DashedWordError, UnknownOptionError, default_values
from anchorweave.errors import ToldError
from anchorweave.option_help import help_text, options_of

# If set, as `--traceback`, also for processes that an entry point starts.
TRACEBACK_VARIABLE = "ANCHORWEAVE_TRACEBACK"
TRACEBACK, HELP = "--traceback", ("--help", "-h")
# Of all entry points.
ALSO = {
    "config=FILE": "a YAML file of such options; if there are several, later ones win, and OPTION="
    "VALUE wins over all. In it, `base: FILE` names a file whose values it overrides.",
    TRACEBACK: "on an error, show the traceback; also enabled by "
    f"{TRACEBACK_VARIABLE}=1 in the environment.",
    "--help": "this text.",
}
# Packages with entry points; searched only when a word is not an option of the running one.
PACKAGES = ("training", "inference")
MISTAKE, INTERRUPTED = 2, 130
# Sent by schedulers, closed terminals or `kill`. By default they terminate a process immediately,
# which would leave temporary folders behind.
ENDING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Command:
    """An entry point.

    Args:
        main: the entry point's function; takes the command-line arguments.
        schema: dataclass of its options.
        default: YAML file with their defaults; None = those of the dataclass.
        first: the option set by a first argument without "="; None = none.
        preset: arguments inserted before the user's.
        also: arguments that are not options, and their meaning.
    """

    main: Callable[[list[str]], object]
    schema: type
    default: str | None = None
    first: str | None = None
    preset: Sequence[str] = ()
    also: Mapping[str, str] = field(default_factory=dict)

    def run(self, words: Sequence[str] | None = None) -> None:
        """Runs the entry point with command-line arguments.

        Args:
            words: the arguments; None = the process's own.

        Raises:
            SystemExit: with code 2, after one message, for user errors: an invalid argument or
            value, a missing or damaged file, or one that cannot be written; with 128 plus the
            signal's number if ended by SIGTERM or SIGHUP, after cleaning up. Any other error
            propagates with its traceback.
        """
        words = list(sys.argv[1:] if words is None else words)
        shown = TRACEBACK in words or bool(os.environ.get(TRACEBACK_VARIABLE))
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
            # The reader of the output (`| head`) has closed it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (ValueError, OSError, ToldError) as error:
            if shown:
                traceback.print_exc()
            print(self._told(error, shown), file=sys.stderr, flush=True)
            sys.exit(MISTAKE)
        except KeyboardInterrupt:
            if shown:
                traceback.print_exc()
            print(f"{self._name()}: stopped by Ctrl-C", file=sys.stderr, flush=True)
            sys.exit(INTERRUPTED)

    def help(self) -> str:
        """What `--help` prints."""
        about = sys.modules[self.main.__module__].__doc__ or ""
        also = {**self.also, **ALSO}
        defaults = default_values(self.schema, self.default, self.preset)
        return help_text(self._name(), about, self.schema, self.default, defaults, also)

    def _told(self, error: Exception, shown: bool) -> str:
        message = str(error) or type(error).__name__
        if isinstance(error, UnknownOptionError):
            message += self._where_else(error.key)
        if isinstance(error, DashedWordError):
            message += self._without_dashes(error.name)
        # File names may contain terminal control characters.
        message = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in message)
        rank = f"rank {os.environ['RANK']}: " if int(os.environ.get("WORLD_SIZE", 1)) > 1 else ""
        more = "" if shown else f"\n({TRACEBACK} shows where in the code, --help all options)"
        return f"{rank}{self._name()}: error: {message}{more}"

    def _where_else(self, key: str) -> str:
        """Similar options, and commands that have an option of this name."""
        last = key.rpartition(".")[2]
        own = [
            option.key
            for option in options_of(self.schema)
            if not option.is_section and option.key.rpartition(".")[2] == last
        ]
        # Stages beside this one first.
        package = self._name().partition(".")[0]
        # One that only ends so is meant here where there is one.
        elsewhere = [pair for pair in options_elsewhere(key).items() if pair[0] == key or not own]
        mine = f"\nOptions of {self._name()} called so: {', '.join(own)}" if own else ""
        return mine + "".join(
            f"\n{option} is an option of "
            + ", ".join(sorted(names, key=lambda name: name.partition(".")[0] != package))
            for option, names in elsewhere
        )

    def _without_dashes(self, name: str) -> str:
        """The option, or the command beside this one, that is called so."""
        own = [one.key for one in options_of(self.schema) if not one.is_section]
        if name in own:
            return f", such as {name}=..."
        beside = f"{self._name().rpartition('.')[0]}.{name}"
        found = commands().get(beside)
        if found is None or not _same_options(found.schema, self.schema):
            return ""
        return f"\nThere is a command of this name for the same options: python -m {beside}"

    def _name(self) -> str:
        spec = sys.modules[self.main.__module__].__spec__
        # What `python -m` runs is called __main__; its spec keeps the name.
        return self.main.__module__ if spec is None else spec.name


def _same_options(one: type, other: type) -> bool:
    """Whether two commands share a dataclass of options."""
    shared = set(one.__mro__) & set(other.__mro__)
    return any(is_dataclass(base) for base in shared)


@contextmanager
def _ended_by_signals(command: Command) -> Iterator[None]:
    """Context in which terminating signals raise SystemExit, so that everything is cleaned up.

    A training replaces this by its own handling; ignored signals (`nohup`) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own, before = os.getpid(), {}

    def end(number: int, frame: object) -> None:
        # Only once: a second signal must not interrupt the clean-up of the first.
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
    """All entry points by the name of their module."""
    found = {}
    for package in PACKAGES:
        for folder in importlib.import_module(package).__path__:
            for module in pkgutil.iter_modules([folder], f"{package}."):
                file = Path(folder, f"{module.name.rpartition('.')[2]}.py")
                if file.is_file() and "\nCOMMAND = Command(" in file.read_text(encoding="utf-8"):
                    found[module.name] = importlib.import_module(module.name).COMMAND
    return found


def options_elsewhere(key: str) -> dict[str, list[str]]:
    """Option -> the entry points that have it: `key` itself, or else options that end with it.

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
