"""`python -m cellgate`: the demonstration, and what this copy of cellgate is."""

from __future__ import annotations

import argparse
import sys

from .runtime import build_info


def info(_: argparse.Namespace) -> int:
    """Print what `cellgate.build_info` returns."""
    for name, value in build_info().items():
        shown = ", ".join(value) if isinstance(value, list) else value
        print(f"{name}: {shown}")
    return 0


def main() -> int:
    """Do what the command line says; the exit status."""
    from . import demo

    parser = argparse.ArgumentParser(prog="python -m cellgate", description="The LSTM for CPUs.")
    commands = parser.add_subparsers(metavar="COMMAND")
    about = "train a forecast of the temperature on a year of weather, test it, save it, stream it"
    command = commands.add_parser("demo", help=about, description=f"{about.capitalize()}.")
    demo.add_arguments(command)
    command.set_defaults(run=demo.run)
    about = "how this copy was built, and what it runs on"
    command = commands.add_parser("info", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=info)

    arguments = parser.parse_args()
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    try:
        status: int = arguments.run(arguments)
    except OSError as error:
        print(f"python -m cellgate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
