"""Who speaks: keys derived from the zone's secret, and the signature that each message carries.

The ledger keeps the zone's secret. A host holds its own key, with which it signs what it sends and checks what the
ledger sends it, and the members' key, shared by all parts of the zone, for broadcasts and telemetry. A tenant's token
is what an order spends with: whoever holds it may bid with that tenant's credits.

Signatures are BLAKE2b with a key, cut to 16 bytes. They prove origin; order and freshness are the session's.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NewType

from tegcore.wire.topics import Channel, Topic

Key = NewType("Key", bytes)

KEY_BYTES = 32
SIGNATURE_BYTES = 16
TOKEN_MASK = (1 << 63) - 1

KEYS_KEPT = 1 << 16
"""Hosts whose keys a ledger remembers, the latest heard."""


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


def peer_key(receiver_key: Key, sender: str) -> Key:
    """The key of what one host says to another: the receiver knows it for every sender, the sender is told it."""
    return Key(_derived(receiver_key, "peer", sender))


def sealed(secret: Key, own_key: Key, about: str) -> bytes:
    """A key for the eyes of who holds another key; sealing again opens it. One secret for each (own key, about)."""
    pad = _derived(own_key, "seal", about)
    return bytes(one ^ other for one, other in zip(secret, pad, strict=True))


def tenant_token(zone_secret: Key, tenant: str) -> int:
    """The capability to spend as a tenant: 63 bits, never 0."""
    return int.from_bytes(_derived(zone_secret, "tenant", tenant)[:8], "little") & TOKEN_MASK or 1


def sealed_token(token: int, own_key: Key, tenant: str) -> bytes:
    """A tenant's token for the eyes of one host."""
    return sealed(Key(token.to_bytes(KEY_BYTES, "little")), own_key, f"tenant {tenant}")


def opened_token(raw: bytes, own_key: Key, tenant: str) -> int:
    """The inverse of `sealed_token`; a number that is no token where the bytes are not what that host was told."""
    raw = raw[:KEY_BYTES].ljust(KEY_BYTES, b"\0")
    return int.from_bytes(sealed(Key(raw), own_key, f"tenant {tenant}"), "little") & TOKEN_MASK


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


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that a program holds, and the one rule of which key signs which channel.

    A host's orders, events and status are signed with that host's key, rates with the governor's, all else with the
    members' key. `keyring.key_of(topic)` is what `codec.decode` asks for.

    Attributes:
        members: See `members_key`.
        governor: See `governor_key`; None where it is not held.
        hosts: Keys of the hosts that this program speaks for or with; the ledger derives any host's.
    """

    members: Key
    governor: Key | None = None
    hosts: Callable[[str], Key | None] = field(default=lambda _: None)

    def key_of(self, topic: Topic) -> Key | None:
        """The key that signs what is said on a topic, or None where it is not held."""
        if topic.channel in {Channel.ORDERS, Channel.EVENTS, Channel.STATUS}:
            return self.hosts(topic.host)
        return self.governor if topic.channel is Channel.RATES else self.members


def ledger_keyring(zone_secret: Key, zone: str) -> Keyring:
    """The ledger's: it can check whom it provisioned."""

    @lru_cache(maxsize=KEYS_KEPT)
    def of_host(host: str) -> Key:
        return host_key(zone_secret, host)

    return Keyring(members_key(zone_secret, zone), governor_key(zone_secret, zone), of_host)
