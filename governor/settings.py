"""The governor's settings: one table for file, environment, flags and help."""

from typing import Annotated

from msgspec import Meta, Struct

from governor.controller import Policy
from tegcore.config.ranges import CREDITS_MAX, JOULES_MAX, SCARCITY_MAX, Uid
from tegcore.economics.energy import Energy
from tegcore.units import UCR_PER_CREDIT, ZONE_K_MAX


class GovernorSettings(Struct, frozen=True, kw_only=True):
    """See each description; times are in ticks of 50 ms."""

    zone: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Zone that is governed.")] = "zone"
    state_dir: Annotated[str, Meta(description="Folder of its keys; default: governor in the state folder.")] = ""
    broker: Annotated[str, Meta(description="MQTT broker, mqtt://HOST:PORT.")] = "mqtt://127.0.0.1:1883"
    tls_ca: Annotated[str, Meta(description="Certificate of the authority, for mqtts://; empty: the system's.")] = ""
    tls_certificate: Annotated[str, Meta(description="This program's certificate.")] = ""
    tls_key: Annotated[str, Meta(description="Its key; default: tls.key among the credentials.")] = ""
    governor_key_file: Annotated[str, Meta(description="Default: governor.key in the state folder.")] = ""
    members_key_file: Annotated[str, Meta(description="Default: members.key in the state folder.")] = ""
    zone_k: Annotated[int, Meta(ge=1, le=ZONE_K_MAX, description="The zone has 2^k x 2^k slots.")] = 5
    epoch_ticks: Annotated[int, Meta(ge=1, le=2**31, description="Between two decisions.")] = 1200
    mu_credits: Annotated[float, Meta(ge=0, le=CREDITS_MAX, description="Static friction per unit of mass (14).")] = (
        0.002
    )
    gas_credits: Annotated[float, Meta(ge=0, le=CREDITS_MAX, description="Fee of an expansion, C_txn.")] = 0.0001
    burn_permille: Annotated[int, Meta(ge=0, le=1000, description="Burnt of what returns from a purse.")] = 10
    mem_k_credits: Annotated[
        float, Meta(ge=0, le=CREDITS_MAX, description="k of the memory price (15), per period.")
    ] = 0.01
    cpu_k_credits: Annotated[float, Meta(ge=0, le=CREDITS_MAX, description="k of the cpu price (15), per period.")] = (
        0.0
    )
    joules_per_credit: Annotated[float, Meta(ge=1, le=JOULES_MAX, description="The energy peg.")] = 3.6e6
    reserves: Annotated[
        str, Meta(pattern="^(rated|measured)$", description="Reserves as rated, or by the power that hosts measure.")
    ] = "rated"
    period_ticks: Annotated[int, Meta(ge=1, le=2**31, description="Rent period of the ledger, for reserves.")] = 1200
    pue: Annotated[float, Meta(ge=1, le=5, description="Power usage effectiveness of the site, for reserves.")] = 1.3
    scarcity: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=SCARCITY_MAX)], ...],
        Meta(max_length=8, description="Price factor by slot class, for reserves."),
    ] = ()
    operators: Annotated[tuple[Uid, ...], Meta(description="Users, by number, that may pause it beside root.")] = ()

    def policy(self) -> Policy:
        """What rates are made of; credits become ucr here."""
        energy = Energy(self.period_ticks, self.pue, self.scarcity)
        return Policy(
            round(self.mu_credits * UCR_PER_CREDIT),
            round(self.gas_credits * UCR_PER_CREDIT),
            self.burn_permille,
            round(self.mem_k_credits * UCR_PER_CREDIT),
            round(self.cpu_k_credits * UCR_PER_CREDIT),
            round(self.joules_per_credit),
            energy=energy if self.reserves == "measured" else None,
        )
