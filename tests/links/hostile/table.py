"""Turns what the tests measured into the table of docs/link-safety.md.

python -m pytest tests/links/hostile -o junit_family=xunit1 --junitxml hostile.xml
python tests/links/hostile/table.py hostile.xml
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET


def rows(file: Path) -> Iterator[str]:
    """Yield a row for each test that measured something and passed; of several audits in one test, the worst."""
    for case in ET.parse(file).iter("testcase"):
        found = [(each.get("name", ""), each.get("value", "")) for each in case.iter("property")]
        if not found or case.find("skipped") is not None or case.find("failure") is not None:
            continue
        name = case.get("name", "").removeprefix("test_").replace("[", ": ").rstrip("]")
        head, mark, parameter = name.partition(": ")
        what = head.replace("_", " ") + (f": `{parameter}`" if mark else "")
        peak = max(int(value) for name, value in found if name == "peak_mb")
        seconds = max(float(value) for name, value in found if name == "seconds")
        verdicts = sorted({part for name, value in found if name == "verdicts" for part in value.split(", ")})
        yield f"| {what} | {', '.join(f'`{verdict}`' for verdict in verdicts)} | {peak} | {seconds:.1f} |"


if __name__ == "__main__":
    print("| server | verdict | peak, MB | seconds |\n|---|---|---|---|")
    print(*rows(Path(sys.argv[1])), sep="\n")
