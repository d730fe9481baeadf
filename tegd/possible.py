"""What a zone could give, were all of it free: what it never can is refused when it is submitted.

The ledger counts what hosts have brought (`tegcore.wire.messages.Stock`). A host that is drained or lost may come back,
so its slots count; what nobody has brought does not. While nothing is known of the zone, nothing is refused.
"""

from tegcore.errors import RefusedError
from tegcore.units import GIB, MIB, PERMILLE
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.messages import ClassStock, HostKind, Stock


def gib(size: int) -> str:
    """A size for people, in GiB."""
    return f"{size / GIB:.1f}".removesuffix(".0") if size >= GIB // 10 else f"{size / GIB:.3f}"


def cores(milli: int) -> str:
    """Cores for people."""
    return f"{milli / 1000:g}"


def slots_of(spec: WorkloadSpec) -> int:
    """How many slots a piece of work asks for."""
    return sum(1 << size for size in spec.sizes)


def demand_possible(spec: WorkloadSpec, stock: Stock | None, here: HostKind | None = None) -> None:
    """Refuse what no part of the zone could ever give.

    Args:
        spec: What is asked for.
        stock: What the zone has; None: not known yet.
        here: What the host of the submission offers, if it may run there only.

    Raises:
        RefusedError: Says what there is, and what to ask for instead.
    """
    if stock is None or not stock.classes:
        return
    where = "this host" if here else "this zone"
    classes, kinds = _asked(spec, stock, here)
    if not classes:
        asked = " or ".join(map(str, spec.slot_classes))
        known = str(here.slot_class) if here else ", ".join(str(each.slot_class) for each in stock.classes)
        hint = f"write --class {known.split(', ')[0]}, or leave --class out for class 0"
        raise RefusedError(f"there are no GPU slots of class {asked}: {where} has slots of class {known}", hint)
    wanted, largest = slots_of(spec), max(spec.sizes)
    has = 1 << here.log2_slots if here else sum(each.slots for each in classes)
    if wanted > has:
        more = "; without --here it can have those of other hosts" if here else ""
        what = f"it asks for {wanted} GPU slots, and {where} has {has} in all"
        raise RefusedError(what, f"ask for --slots {_floor(has)} or less{more}")
    most_log2 = here.log2_slots if here else max(each.largest_log2 for each in classes)
    if largest > most_log2 and len(classes) == 1:
        what = f"it asks for {1 << largest} GPU slots next to each other, and {where} has at most {1 << most_log2} so"
        raise RefusedError(what, f"ask for {_apart(largest, most_log2)}, or fewer: --slots {1 << most_log2}")
    if spec.share_permille and spec.share_permille >= PERMILLE:
        return
    _demand_room(spec, kinds, "this host" if here else "a host here")


def _asked(spec: WorkloadSpec, stock: Stock, here: HostKind | None) -> tuple[list[ClassStock], list[HostKind]]:
    if here:
        fits = here.slot_class in spec.slot_classes
        return [ClassStock(here.slot_class)] * fits, [here] * fits
    classes = [each for each in stock.classes if each.slot_class in spec.slot_classes and each.slots]
    return classes, [kind for kind in stock.kinds if kind.slot_class in spec.slot_classes]


def _demand_room(spec: WorkloadSpec, kinds: list[HostKind], where: str) -> None:
    """A block of 2^j slots has to find room for all of them on each host that it touches."""
    if not kinds:
        return
    largest = max(spec.sizes)
    on = [(min(1 << largest, 1 << kind.log2_slots), kind) for kind in kinds]
    if all(spec.mem_bytes * slots >= kind.mem_bytes for slots, kind in on) and spec.mem_bytes:
        slots, kind = max(on, key=lambda each: each[1].mem_bytes / each[0])
        each = kind.mem_bytes // slots
        asks = f"it asks for {gib(spec.mem_bytes)} GiB of host memory with each GPU slot"
        what = f"{asks}: {where} has at most {gib(each)} GiB"
        less = (
            f"{each // GIB}G" if each // GIB * GIB * slots < kind.mem_bytes and each >= GIB else f"{(each - 1) // MIB}M"
        )
        hint = f"ask for less: --mem {less} or below; while the job runs it gets more as it grows"
        raise RefusedError(f"{what} for one{_together(slots)}", hint)
    if all(spec.cpu_milli * slots > kind.cpu_milli for slots, kind in on) and spec.cpu_milli:
        slots, kind = max(on, key=lambda each: each[1].cpu_milli / each[0])
        most = cores(kind.cpu_milli // slots)
        what = f"it asks for {cores(spec.cpu_milli)} cores with each GPU slot: {where} has at most {most}"
        raise RefusedError(f"{what} for one{_together(slots)}", f"ask for --cpu {most} or less")
    fits = any(
        spec.mem_bytes * slots < kind.mem_bytes and spec.cpu_milli * slots <= kind.cpu_milli for slots, kind in on
    )
    if not fits and spec.mem_bytes:
        both = f"{gib(spec.mem_bytes)} GiB of host memory and {cores(spec.cpu_milli)} cores"
        what = f"it asks for {both} with each GPU slot: no host has both"
        raise RefusedError(what, "ask for less of one: a smaller --mem or --cpu; `tegctl hosts` shows the hosts")


def _together(slots: int) -> str:
    return f" of {slots}" if slots > 1 else ""


def _floor(slots: int) -> int:
    """The largest power of two that is no more."""
    return 1 << slots.bit_length() - 1 if slots else 0


def _apart(log2: int, most_log2: int) -> str:
    """The same slots in up to four blocks of at most 2^most_log2."""
    parts = min(4, 1 << log2 - most_log2)
    return "--slots " + "+".join([str(1 << most_log2)] * parts)
