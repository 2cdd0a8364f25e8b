"""`python -m cellgate`: the demonstration, and what this copy of cellgate is."""

from __future__ import annotations

import argparse
import io
import os
import sys

from . import __version__, demo
from .runtime import build_info


def info(_: argparse.Namespace) -> int:
    """Print what `cellgate.build_info` returns."""
    for name, value in build_info().items():
        shown = ", ".join(value) if isinstance(value, list) else value
        print(f"{name}: {shown}")
    return 0


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m cellgate",
        description="An LSTM library for CPUs.",
        epilog="To begin: python -m cellgate demo. Each COMMAND has a --help of its own.",
    )
    parser.add_argument("--version", action="version", version=f"cellgate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    about = "train a forecast of the temperature on a year of weather, test it, save it, stream it"
    example = "example: python -m cellgate demo --quick --output weather"
    command = commands.add_parser(
        "demo", help=about, description=f"{about.capitalize()}.", epilog=example
    )
    demo.add_arguments(command)
    command.set_defaults(run=demo.run)
    about = "how this copy was built, and what it runs on"
    example = "example: CELLGATE_ISA=avx2 python -m cellgate info"
    command = commands.add_parser(
        "info", help=about, description=f"{about.capitalize()}.", epilog=example
    )
    command.set_defaults(run=info)
    return parser


def main() -> int:
    """Do what the command line says; the exit status."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):  # None if the process was started with it closed
            output.reconfigure(errors="replace")  # "°" where the encoding has none
    parser = command_line()
    arguments = parser.parse_args()
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    try:
        build_info()  # a bad CELLGATE_ISA or CELLGATE_NUM_THREADS is a ValueError here
    except ValueError as error:
        return failed(str(error))
    try:
        status: int = arguments.run(arguments)
        print(end="", flush=True)
    except BrokenPipeError:  # the reader of the output has ended, as `head` does
        discard_output()
        return 1
    except OSError as error:
        discard_output()
        named = error.filename is not None and error.strerror is not None
        return failed(f"{error.filename}: {error.strerror}" if named else str(error))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return status


def failed(message: str) -> int:
    """Say in one line why the command ends; its exit status."""
    print(f"python -m cellgate: {message}", file=sys.stderr)
    return 2


def discard_output() -> None:
    """Discard what is still buffered: writing it at exit would fail once more."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
