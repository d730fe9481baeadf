"""Who speaks: keys derived from the zone's secret, and the signature that each message carries.

The ledger keeps the zone's secret. A host holds its own key, with which it signs what it sends and checks what the
ledger sends it, and the members' key, shared by all parts of the zone, for broadcasts and telemetry. A tenant's token
is what an order spends with: whoever holds it may bid with that tenant's credits.

Signatures are BLAKE2b with a key, cut to 16 bytes. They prove origin; order and freshness are the session's.
"""

import hashlib
import hmac
from typing import NewType

Key = NewType("Key", bytes)

KEY_BYTES = 32
SIGNATURE_BYTES = 16
TOKEN_MASK = (1 << 63) - 1


def _derived(secret: Key, role: str, name: str) -> bytes:
    return hashlib.blake2b(f"{role}\0{name}".encode(), key=secret, digest_size=KEY_BYTES).digest()


def host_key(zone_secret: Key, host: str) -> Key:
    """The key of one host."""
    return Key(_derived(zone_secret, "host", host))


def members_key(zone_secret: Key, zone: str) -> Key:
    """The key that all parts of a zone share."""
    return Key(_derived(zone_secret, "members", zone))


def governor_key(zone_secret: Key, zone: str) -> Key:
    """The key of the governor towards one zone's ledger."""
    return Key(_derived(zone_secret, "governor", zone))


def tenant_token(zone_secret: Key, tenant: str) -> int:
    """The capability to spend as a tenant: 63 bits, never 0."""
    return int.from_bytes(_derived(zone_secret, "tenant", tenant)[:8], "little") & TOKEN_MASK or 1


def sign(key: Key, topic: str, payload: bytes) -> bytes:
    """The signature of a payload on a topic: the same bytes elsewhere do not verify."""
    mac = hashlib.blake2b(key=key, digest_size=SIGNATURE_BYTES)
    mac.update(topic.encode())
    mac.update(b"\0")
    mac.update(payload)
    return mac.digest()


def verify(key: Key, topic: str, payload: bytes, signature: bytes) -> bool:
    """Whether a signature is right, in constant time."""
    return hmac.compare_digest(sign(key, topic, payload), signature)
