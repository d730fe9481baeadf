"""TLS between programs: one authority signs every host, and each side proves its name by certificate.

Certificates are read anew for each connection, so that a rotated one counts from the next connection on.
"""

import ssl
from pathlib import Path
from typing import Any, NamedTuple

from tegcore.errors import ConfigError


class Certificates(NamedTuple):
    """Files in PEM: who signs hosts (one or, while it is rotated, two), and who this program is."""

    ca: Path
    certificate: Path
    key: Path


def certificates(ca: str, certificate: str, key: str | Path) -> Certificates | None:
    """The files that settings name; None where they name no authority.

    Raises:
        ConfigError: If they name an authority and nothing to be known by.
    """
    if not ca:
        return None
    if not certificate or str(key) in {"", "."}:
        raise ConfigError("tls_ca is set, but tls_certificate or tls_key is not", "`tegctl certs issue` makes both")
    return Certificates(Path(ca), Path(certificate), Path(key))


def server_context(files: Certificates) -> ssl.SSLContext:
    """What a program is heard under: only those whom the authority has signed.

    Raises:
        ConfigError: If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, files)


def client_context(files: Certificates, *, by_address: bool = True) -> ssl.SSLContext:
    """What a program speaks under.

    Args:
        files: Its own.
        by_address: Whether the other side's certificate must name its address; else the caller checks its name.

    Raises:
        ConfigError: If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = by_address
    return _loaded(context, files)


def _loaded(context: ssl.SSLContext, files: Certificates) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        hint = "`tegctl certs issue` makes them"
        raise ConfigError(f"{files.certificate}, {files.key}, {files.ca}: {error}", hint) from None
    return context


def peer_name(channel: ssl.SSLObject | None) -> str:
    """The common name in the other side's certificate; empty without TLS."""
    certificate: Any = channel.getpeercert() if channel is not None else None
    subject = (pair for part in (certificate or {}).get("subject", ()) for pair in part)
    return str(next((value for key, value in subject if key == "commonName"), ""))
