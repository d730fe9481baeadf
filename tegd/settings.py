"""The host daemon's settings: one table for file, environment, flags and help."""

from typing import Annotated

from msgspec import Meta, Struct

from tegcore.config.ranges import Uid
from tegcore.errors import ConfigError
from tegcore.units import ZONE_K_MAX

_MASKED_LOG2_MAX = 5
"""Of a larger host is said how many slots it has, from the first on: the word that names each has 63 bits."""
_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class HostSettings(Struct, frozen=True, kw_only=True):
    """See each description."""

    host: Annotated[str, Meta(description="Name of this host; default: its host name.")] = ""
    zone: Annotated[str, Meta(pattern=_NAME, description="Zone that this host belongs to.")] = "zone"
    state_dir: Annotated[str, Meta(description="Folder of accepted work; default: tegd in the state folder.")] = ""
    broker: Annotated[str, Meta(description="MQTT broker, mqtt://HOST:PORT; empty: this host alone.")] = (
        "mqtt://127.0.0.1:1883"
    )
    airlock_file: Annotated[str, Meta(description="The airlock's settings, for a host alone.")] = (
        "/etc/teg/airlock.toml"
    )
    host_key_file: Annotated[str, Meta(description="This host's key; default: host.key in the state folder.")] = ""
    members_key_file: Annotated[str, Meta(description="The zone's members' key; default: members.key there.")] = ""
    peer_listen: Annotated[
        str, Meta(pattern=r"^\S*:\d{1,5}$", description="Where other hosts are heard, ADDRESS:PORT; port 0: any.")
    ] = "127.0.0.1:0"
    peer_address: Annotated[str, Meta(description="How they reach this host, HOST:PORT; default: as it listens.")] = ""
    tls_ca: Annotated[str, Meta(description="Certificate of the authority that signs hosts; empty: no TLS.")] = ""
    tls_certificate: Annotated[str, Meta(description="This host's certificate.")] = ""
    tls_key: Annotated[str, Meta(description="Its key; default: tls.key among the credentials.")] = ""
    transfer_bytes_s: Annotated[
        int, Meta(ge=1 << 16, le=2**62, description="Most that it sends to other hosts, checkpoints and logs together.")
    ] = 64 << 20
    tenant_log_bytes: Annotated[
        int,
        Meta(
            ge=1 << 20,
            le=2**62,
            description="Most of one tenant's output that is kept here: its largest logs are cut first.",
        ),
    ] = 1 << 30
    guest_uid_min: Annotated[
        int,
        Meta(
            ge=0, le=2**32 - 1, description="Work of other hosts runs here as users from this number on; 0: root too."
        ),
    ] = 1000
    log2_slots: Annotated[int, Meta(ge=0, le=16, description="This host has 2^this slots.")] = 3
    slots: Annotated[
        int, Meta(ge=0, le=1 << 16, description="How many of them there are: the last ones are absent; 0: all.")
    ] = 0
    base: Annotated[
        int, Meta(ge=-1, lt=1 << 2 * ZONE_K_MAX, description="Morton base of its slots; -1: the ledger chooses.")
    ] = -1
    slot_class: Annotated[int, Meta(ge=0, le=7, description="Class of its slots.")] = 0
    slots_as: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")], ...],
        Meta(
            max_length=8,
            description="Entries of work's environment that say which slots of this host it has, beside TEG_SLOTS."
            " CUDA_VISIBLE_DEVICES: slot i is GPU i.",
        ),
    ] = ()
    cpu_milli: Annotated[int, Meta(ge=0, le=2**31, description="Cores offered, in thousandths; 0: all.")] = 0
    mem_bytes: Annotated[int, Meta(ge=0, le=1 << 50, description="Memory offered; 0: all.")] = 0
    temp_idle_c: Annotated[float, Meta(ge=-300, le=10_000, description="Temperature that counts as no heat.")] = 35.0
    temp_crit_c: Annotated[
        float, Meta(ge=-300, le=10_000, description="Temperature that counts as all heat, where no sensor says.")
    ] = 95.0
    seed: Annotated[int, Meta(ge=0, le=2**62, description="Of the agents' random streams.")] = 0
    tokens: Annotated[
        dict[str, Annotated[int, Meta(ge=0, le=2**63 - 1)]],
        Meta(description="Token of each tenant that may submit here."),
    ] = {}
    tenants: Annotated[
        dict[str, tuple[Uid, ...]], Meta(description="Users, by number, of each tenant; `tegctl tenant` changes them.")
    ] = {}
    operators: Annotated[tuple[Uid, ...], Meta(description="Users, by number, that may act for any tenant.")] = ()


def absent_mask(log2_slots: int, slots: int) -> int:
    """Which slots of a run are absent, where a host has only the first so many of them, as the wire has it; 0: none.

    Raises:
        ConfigError: If there are more than the run has.
    """
    run = 1 << log2_slots
    if slots in (0, run):
        return 0
    if slots > run:
        hint = f"set log2_slots to {(slots - 1).bit_length()}"
        raise ConfigError(f"slots = {slots}, and log2_slots = {log2_slots} gives {run}", hint)
    return -slots if log2_slots > _MASKED_LOG2_MAX else (1 << run) - (1 << slots)
