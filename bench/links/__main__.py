"""How fast, how true and how heavy link checkers are, on generated sites behind nginx on loopback.

`python bench/links [--rounds 5] [--site l1000 l10000 h1000] [--only ours,again,lychee] [--slow] [--json FILE]`

What is measured and how is in docs/benchmarks-links.md.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from links import certificate, installs, nginx, table
from links.run import Bench, Case, Run, typical
from links.sites import PROFILES, Site, site
from links.tools import DURABLE, NAMES, Tool, tools

USUAL = ("l1000", "l10000", "h1000")
SMALLEST = "l1000"
HUGE = "l100000"


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(NAMES)}")
    return names


def _arguments() -> argparse.Namespace:
    usual = [name for name in NAMES if name != DURABLE]
    parser = argparse.ArgumentParser(prog="bench/links", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each tool runs on each site; 5")
    parser.add_argument("--site", choices=PROFILES, nargs="+", default=list(USUAL), help=" ".join(USUAL))
    parser.add_argument("--only", type=_names, default=usual, metavar="TOOLS", help=f"of {','.join(NAMES)}")
    parser.add_argument("--slow", action="store_true", help="the slow tools on every site, too")
    parser.add_argument("--plain", action="store_true", help="not over TLS")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds after which a run is stopped; 300")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    return parser.parse_args()


def _sites(names: Sequence[str], *, plain: bool) -> list[Site]:
    """Return the sites, generated; the huge one brings along the one that it is compared with."""
    wanted = {*names, "l10000"} if HUGE in names else set(names)
    found = []
    for number, (name, profile) in enumerate(PROFILES.items()):
        if name in wanted:
            schemes = ("http",) if plain or name == HUGE else ("http", "https")
            found += [site(profile, nginx.base(scheme, number), installs.CACHE / "sites") for scheme in schemes]
    return found


def _cases(sites: Sequence[Site], wanted: Sequence[Tool], arguments: argparse.Namespace) -> Iterator[Case]:
    for each in sites:
        name = each.profile.name
        for tool in wanted:
            left_out = (
                (each.base.startswith("https") and not tool.tls)
                or (tool.slow and name != SMALLEST and not arguments.slow)
                or (name == HUGE and tool.name != "ours")
                or (name not in arguments.site and tool.name != "ours")
            )
            if not left_out:
                yield Case(each, tool)


def _measure(arguments: argparse.Namespace) -> Generator[Run]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gapless-bench-")))
        wanted = tools(arguments.only, stack)
        sites = _sites(arguments.site, plain=arguments.plain)
        certified = certificate.make(installs.CACHE / "tls")
        server = stack.enter_context(nginx.running(sites, certified, installs.CACHE / "nginx"))
        cases = list(_cases(sites, wanted, arguments))
        yield from Bench(server, certified, arguments.limit, folder).rounds(cases, arguments.rounds)


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started ends, too
    runs: list[Run] = []
    try:
        with closing(_measure(arguments)) as measured:
            runs.extend(measured)
    finally:  # what was measured before an interruption is as true
        rows = typical(runs)
        print("\n".join(table.lines(rows)))
        if arguments.json:
            arguments.json.write_text(json.dumps(table.document(runs, rows), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
