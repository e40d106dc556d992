"""What an import costs: each in a fresh interpreter."""

import subprocess
import sys

import pytest

import gapless

HEAVY = ("aiohttp", "google.genai", "httpx2", "obstore", "pydantic", "structlog", "temporalio", "uvicorn")


def loaded(statement: str) -> set[str]:
    """Return the names of the modules that a statement loads."""
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_the_package_alone_is_light() -> None:
    """`import gapless` loads neither Temporal's SDK nor a provider's, nor anything else that takes time."""
    assert not loaded("import gapless, gapless.errors").intersection(HEAVY)


def test_a_name_loads_only_its_own_module() -> None:
    """A setting needs no Temporal, and a request needs no provider."""
    assert "temporalio" not in loaded("from gapless import GaplessError, Settings")
    assert not loaded("from gapless import InteractionRequest, LinkAuditRequest, Outcome").intersection(
        ("aiohttp", "google.genai", "httpx2", "obstore")
    )


def test_the_contract_does_no_io() -> None:
    """What workflows and services agree on loads neither a provider nor an HTTP client."""
    modules = "interaction", "link_audit", "queues", "attributes"
    found = loaded("\n".join(f"import gapless.contract.{name}" for name in modules))
    assert not found.intersection(("aiohttp", "google.genai", "httpx2", "obstore", "gapless.providers"))


def test_a_client_loads_no_provider() -> None:
    """Who starts runs needs no provider's SDK; a worker loads it on first use."""
    assert not loaded("from gapless import Gapless").intersection(("google.genai", "aiohttp"))
    assert "google.genai" not in loaded("import gapless_workers.worker")


def test_public_names_are_sorted() -> None:
    """The list of public names is in order, and is what `dir` shows."""
    assert gapless.__all__ == sorted(gapless.__all__)
    assert set(dir(gapless)) == {*gapless.__all__, "__version__"}


@pytest.mark.parametrize("name", [*gapless.__all__, "__version__"])
def test_every_public_name_loads(name: str) -> None:
    """What is named can be had."""
    assert getattr(gapless, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Gaples'"):
        getattr(gapless, "Gaples")  # noqa: B009 - a name that mypy would refuse
