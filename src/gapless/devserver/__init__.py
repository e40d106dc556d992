"""Gives a Temporal server to whoever needs one.

In this order: the cluster that the environment names; our own server when it is up; our own server started with
the `temporal` program from the setting, PATH, the cache, the SDK's download, or a build with Go.
"""

from gapless.devserver.access import connect, ensure, start
from gapless.devserver.binary import binary
from gapless.devserver.process import Files, status, stop
from gapless.devserver.server import Server

__all__ = ["Files", "Server", "binary", "connect", "ensure", "start", "status", "stop"]
