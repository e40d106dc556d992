import argparse
import sys
from pathlib import Path

from gapless.testing.emulator.server import run


def _print(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve the local Interactions API; its URL is the only line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m gapless.testing.emulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--run-seconds", type=float, default=2.0)
    parser.add_argument("--miss", type=int, default=0)
    parser.add_argument("--invent", type=int, default=0)
    run(**vars(parser.parse_args()), started=_print)


if __name__ == "__main__":
    main()
