"""What this host is called."""

import platform
import re


def host_name() -> str:
    """The machine's own name, as a name of ours: lower case, and nothing that a topic cannot hold."""
    return re.sub(r"[^a-z0-9._-]", "-", platform.node().lower()).strip("._-") or "host"
