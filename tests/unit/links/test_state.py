import asyncio
import json
import sys
from pathlib import Path

from gapless.links import segments
from unit.links.httpsite import Reply, Serve, Site, page


async def audit(site: Site, state: Path, *options: str, interrupt_at: int = 0) -> tuple[int | None, str]:
    """Run the bare auditor with a state folder; return its exit code and what it prints."""
    command = [sys.executable, "-m", "gapless.links", site.url, "--state", str(state), *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    while interrupt_at and site.requests.total() < interrupt_at:
        await asyncio.sleep(0.01)
    if interrupt_at:
        process.kill()
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


def routes() -> dict[str, Reply | str]:
    return {"/": page("/a", "/b"), "/a": page("/gone"), "/b": page("/a")}


async def test_what_has_not_changed_is_reported_as_it_was(serve: Serve, tmp_path: Path) -> None:
    """The report that is kept is used for a crawl that saw the same, and for no other."""
    site = await serve(routes())
    first = await audit(site, tmp_path, "--json")
    [kept] = tmp_path.glob("*.report")
    written = kept.stat().st_mtime_ns
    assert await audit(site, tmp_path, "--json") == first
    assert kept.stat().st_mtime_ns == written
    site.routes = {**site.routes, "/gone": page()}
    code, text = await audit(site, tmp_path, "--json")
    assert (first[0], code) == (1, 0)
    assert json.loads(text)["total_broken"] == 0
    assert kept.stat().st_mtime_ns > written


async def test_another_versions_report_is_not_used(serve: Serve, tmp_path: Path) -> None:
    """What another version made of the same crawl is written anew."""
    site = await serve(routes())
    first = await audit(site, tmp_path, "--json")
    [kept] = tmp_path.glob("*.report")
    _, broken, text = kept.read_text().split("\n", 2)
    kept.write_text("\n".join(("Gapless/0.0 0", broken, text.replace("gone", "went"))))
    assert await audit(site, tmp_path, "--json") == first


async def test_an_interrupted_audit_goes_on(serve: Serve, tmp_path: Path) -> None:
    """What is in the folder after a kill is gone on with, a segment that was cut off left out."""
    pages = {f"/{number}": page(f"/{number + 1}") for number in range(3000)}
    site = await serve({"/": page(*(f"/{number}" for number in range(0, 3000, 2))), **pages})
    await audit(site, tmp_path, interrupt_at=2500)
    [progress] = tmp_path.glob("*.progress")
    with progress.open("ab") as file:
        file.write((segments.RECORDS).to_bytes(8, "big") + b"cut off")
    site.requests.clear()
    code, text = await audit(site, tmp_path)
    assert code == 1
    assert "Total broken: 1 across 3001 pages crawled." in text
    assert site.requests.total() < 1500
    assert not progress.exists()
