"""Environments and their files, through the unmodified SDK."""

import io
import tarfile
from typing import Any

import pytest
from google.genai import _interactions as errors
from google.genai import errors as classic

pytestmark = pytest.mark.filterwarnings("ignore:Environments usage is experimental:UserWarning")

SOURCES = [
    {"type": "inline", "target": "/data/a b.txt", "content": "hi"},
    {"type": "inline", "target": "/data/deep/c.json", "content": "e30=", "encoding": "base64"},
    {"type": "inline", "target": "/top.md", "content": "# top"},
]


@pytest.fixture
async def environment(sdk: Any) -> Any:
    """Return an environment with three files."""
    return await sdk.environments.create(sources=SOURCES)


async def test_an_environment_is_described(sdk: Any, environment: Any) -> None:
    """Its numbers are 64-bit, which the SDK reads from strings."""
    seen = await sdk.environments.get(id=environment.id)
    assert (seen.status, seen.file_count, seen.size_bytes) == ("active", 3, 9)
    assert seen.id == environment.id


async def test_files_are_listed(sdk: Any, environment: Any) -> None:
    """All files below a folder, or what is just in it, or one file."""
    files = sdk.environments.files
    every = await files.list(environment=environment.id, path="", recursive=True)
    assert [(f.path, f.type, f.size_bytes) for f in every.files] == [
        ("data/a b.txt", "file", 2),
        ("data/deep/c.json", "file", 2),
        ("top.md", "file", 5),
    ]
    top = await files.list(environment=environment.id, path="")
    assert [(f.name, f.type) for f in top.files] == [("data", "directory"), ("top.md", "file")]
    below = await files.list(environment=environment.id, path="data/")
    assert [(f.path, f.type) for f in below.files] == [("data/a b.txt", "file"), ("data/deep", "directory")]
    one = await files.list(environment=environment.id, path="data/a b.txt")
    assert [f.mime_type for f in one.files] == ["text/plain"]
    with pytest.raises(errors.NotFoundError):
        await files.list(environment=environment.id, path="nothing")


async def test_lists_come_in_pages(sdk: Any, environment: Any) -> None:
    """Each page names the next one, until the last."""
    token, paths = None, []
    while True:
        page = await sdk.environments.files.list(
            environment=environment.id, path="", recursive=True, page_size=2, page_token=token
        )
        paths += [f.path for f in page.files]
        token = page.next_page_token
        if not token:
            break
    assert paths == ["data/a b.txt", "data/deep/c.json", "top.md"]


async def test_files_are_downloaded(sdk: Any, environment: Any) -> None:
    """A file's bytes come as they are; what is missing is the older client's 404."""
    files = sdk.environments.files
    assert await files.download(environment=environment.id, path="data/deep/c.json") == b"{}"
    assert await files.download(environment=environment.id, path="data/a b.txt") == b"hi"
    with pytest.raises(classic.ClientError) as missing:
        await files.download(environment=environment.id, path="nothing")
    assert missing.value.code == 404


async def test_the_whole_is_downloaded_as_tar(sdk: Any, environment: Any) -> None:
    """The archive has every file with its path."""
    data = await sdk.client.aio.files.download(file=f"files/environment-{environment.id}")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["data/a b.txt", "data/deep/c.json", "top.md"]
        member = archive.extractfile("top.md")
        assert member is not None
        assert member.read() == b"# top"


async def test_a_fork_has_the_files_of_its_origin(sdk: Any, environment: Any) -> None:
    """A copy is independent of its origin."""
    fork = await sdk.environments.create(from_environment=environment.id)
    assert fork.id != environment.id
    await sdk.environments.delete(id=environment.id)
    assert await sdk.environments.files.download(environment=fork.id, path="top.md") == b"# top"
    with pytest.raises(errors.NotFoundError):
        await sdk.environments.get(id=environment.id)
    with pytest.raises(errors.NotFoundError):
        await sdk.environments.files.list(environment=environment.id, path="")
    listed = await sdk.environments.list(page_size=1000)
    assert fork.id in [e.id for e in listed.environments]


async def test_an_environment_is_shared_by_interactions(sdk: Any, environment: Any) -> None:
    """A request may name an environment, ask for a new one, or describe one."""
    agent = {"agent": "antigravity-preview-05-2026", "labels": {"gapless-run-seconds": "0"}}
    named = await sdk.start(environment=environment.id, **agent)
    assert named.environment_id == environment.id
    await sdk.until(named.id)
    assert await sdk.environments.files.download(environment=environment.id, path="answer.md")
    other = await sdk.start(environment={"type": "remote", "sources": SOURCES[:1]}, **agent)
    assert other.environment_id != environment.id
    assert await sdk.environments.files.download(environment=other.environment_id, path="data/a b.txt") == b"hi"
    assert (await sdk.start(**agent)).environment_id is None


async def test_downloads_have_faults(sdk: Any, emulator: Any, environment: Any) -> None:
    """The control API can break lists and downloads."""
    emulator.inject("status-503", operation="files")
    emulator.inject("status-403", operation="download")
    with pytest.raises(errors.InternalServerError):
        await sdk.environments.files.list(environment=environment.id, path="")
    with pytest.raises(classic.ClientError):
        await sdk.environments.files.download(environment=environment.id, path="top.md")
    assert await sdk.environments.files.download(environment=environment.id, path="top.md") == b"# top"
