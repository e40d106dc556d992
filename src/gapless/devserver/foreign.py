"""A cluster that the environment or a temporal.toml profile names."""

from temporalio.envconfig import ClientConfig, ClientConnectConfig

from gapless.devserver.namespace import is_cloud
from gapless.devserver.server import Server
from gapless.errors import ConfigurationError


def configured() -> Server | None:
    """Describe the cluster that is named outside; None when none is.

    Raises:
        ConfigurationError: the profile or a file it names cannot be read.
    """
    config = connect_config()
    address = config.get("target_host")
    if not address:
        return None
    by_variable = _load(disable_file=True).get("target_host")
    return Server(
        address=address,
        namespace=config.get("namespace") or "default",
        ui="https://cloud.temporal.io" if is_cloud(address) else None,
        origin="from TEMPORAL_ADDRESS" if by_variable else "from a temporal.toml profile",
        ours=False,
    )


def connect_config() -> ClientConnectConfig:
    """Read what `Client.connect` needs: address, namespace, API key, TLS, metadata."""
    return _load(disable_file=False)


def _load(*, disable_file: bool) -> ClientConnectConfig:
    try:
        return ClientConfig.load_client_connect_config(disable_file=disable_file)
    except (RuntimeError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"the Temporal client configuration cannot be read: {' '.join(str(error).split())}. "
            "Check temporal.toml and the TEMPORAL_ variables."
        ) from None
