"""What the table `links` of gapless.toml says of how sites are crawled; what it says of reports stands in it, too."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gapless.config import TOML
from gapless.contract.link_audit import CrawlOptions
from gapless.errors import ConfigurationError
from gapless.links.report.settings import ReportSettings


def read_crawl_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the crawl's options that stand in the table; the whole table is checked.

    Raises:
        ConfigurationError: a name that nobody knows, or a value that cannot be meant.
    """
    try:
        ReportSettings.read(table)
        found = {name: table[name] for name in CrawlOptions.model_fields if name in table}
        CrawlOptions.model_validate(found)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in ("links", *problem["loc"]))
        raise ConfigurationError(f"{TOML}: {where}: {problem['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise ConfigurationError(f"{TOML}: {error}") from None
    return found
