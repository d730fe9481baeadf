"""A zone on virtual machines: made as docs/howto/several-hosts.md says, and asked over ssh."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vm.guest import Guest, Lan
from vm.host import FAST, SPIN

from tegctl import authority
from tegctl.samples.spin import unit

TEMPLATES = Path(__file__).parents[2] / "systemd" / "mosquitto"
ZONE = "zone"
LET_IN = "[Service]\nIPAddressAllow=10.77.0.0/24\n"
TERM_S, GRACE_S = 20.0, 1.0


class Zone:
    """The three machines.

    Args:
        boot: Starts a guest from a snapshot.
        installed: A snapshot with the package.
        folder: For certificates.
    """

    def __init__(self, boot: Callable[..., Guest], installed: Path, folder: Path) -> None:
        self._boot, self._installed, self._certs = boot, installed, folder / "certs"
        self.lan = Lan()
        self.guests: dict[str, Guest] = {}

    def __getitem__(self, name: str) -> Guest:
        return self.guests[name]

    def start(self) -> "Zone":
        """Start all, and wait until the ledger hears both hosts."""
        for name in ("control", "n1", "n2"):
            self.guests[name] = self._boot(self._installed, name, self.lan)
        authority.init(self._certs, ZONE)
        self._control()
        for place, name in enumerate(("n1", "n2")):
            self._host(name, place << 1)
        self.until(lambda: [row["up"] for row in self.hosts()] == [True, True], 240, "both hosts are up")
        return self

    def _tls(self, guest: Guest, name: str, folder: str, key: str, *addresses: str) -> str:
        """Give a program its certificate; the settings that name it."""
        certificate, private = authority.issue(self._certs, name, addresses)
        guest.write(f"{folder}/ca.pem", (self._certs / "ca.pem").read_text())
        guest.write(f"{folder}/{name}.pem", certificate.read_text())
        guest.write(key, private.read_text())
        guest.run(f"chmod 600 {key}; chmod 644 {folder}/*.pem")
        return f'tls_ca = "{folder}/ca.pem"\ntls_certificate = "{folder}/{name}.pem"\n'

    def _let_in(self, guest: Guest, *units: str) -> None:
        for name in units:
            guest.write(f"/etc/systemd/system/{name}.service.d/lan.conf", LET_IN)
        guest.run("systemctl daemon-reload")

    def _control(self) -> None:
        guest = self["control"]
        self.broker = f"mqtts://{guest.address}:8883"
        self._tls(guest, "broker", "/etc/mosquitto/teg", "/etc/mosquitto/teg/broker.key", guest.address)
        guest.write("/etc/mosquitto/conf.d/teg.conf", (TEMPLATES / "teg.conf").read_text())
        guest.write("/etc/mosquitto/teg/teg.acl", (TEMPLATES / "teg.acl").read_text().replace("ZONE", ZONE))
        guest.run("chown -R mosquitto /etc/mosquitto/teg; chmod 700 /etc/mosquitto/teg; systemctl restart mosquitto")
        words = "--to /etc/teg/credentials --tenant vagrant"
        guest.run(f"zone-ledger --config /etc/teg/ledger.toml provision {words}")
        for name, more in (("ledger", FAST + 'market = "auction"\nwelcome_credits = 100000.0\n'), ("governor", "")):
            tls = self._tls(guest, name, f"/etc/teg/tls-{name}", f"/etc/teg/credentials/{name}/tls.key")
            common = f'broker = "{self.broker}"\nzone = "{ZONE}"\n{tls}'
            guest.write(f"/etc/teg/{name}.toml", common + (more or "zone_k = 2\nepoch_ticks = 100\n"))
        self._let_in(guest, "zone-ledger", "governor")
        guest.run("systemctl start zone-ledger governor", limit_s=240)
        guest.run("tegctl mint vagrant 100000")

    def _host(self, name: str, base: int) -> None:
        control, guest = self["control"], self[name]
        words = f"--host {name} --to /root/for-{name} --tenant vagrant"
        control.run(f"mkdir -p /root/for-{name} && cp -r /etc/teg/credentials/ledger /root/for-{name}/")
        control.run(f"zone-ledger --config /etc/teg/ledger.toml provision {words}")
        for path in control.run(f"ls /root/for-{name}/tegd").split():
            guest.write(f"/etc/teg/credentials/tegd/{path}", control.run(f"cat /root/for-{name}/tegd/{path}"))
        tls = self._tls(guest, name, "/etc/teg/tls", "/etc/teg/credentials/tegd/tls.key")
        settings = f'broker = "{self.broker}"\nzone = "{ZONE}"\nhost = "{name}"\nbase = {base}\nlog2_slots = 1\n'
        peers = f'peer_listen = "0.0.0.0:7117"\npeer_address = "{guest.address}:7117"\n'
        guest.write("/etc/teg/tegd.toml", settings + peers + tls)
        guest.run("chmod 600 /etc/teg/credentials/tegd/*")
        self._let_in(guest, "tegd")
        guest.run("systemctl start tegd", limit_s=240)

    # --- asking -----------------------------------------------------------------------------------------------------

    def tegctl(self, name: str, words: str) -> Any:
        """What `tegctl` answers on a machine; items alone."""
        said = json.loads(self[name].run(f"cd /tmp && tegctl -o json {words}"))
        return said["items"] if isinstance(said, dict) and "items" in said else said

    def hosts(self) -> list[dict[str, Any]]:
        return list(self.tegctl("control", "hosts"))

    def host(self, name: str) -> dict[str, Any]:
        return next(row for row in self.hosts() if row["host"] == name)

    def leases(self) -> list[dict[str, Any]]:
        return [row for row in self.tegctl("control", "leases") if row["lease"]]

    def work(self, home: str, name: str) -> dict[str, Any]:
        rows = self.tegctl(home, "agents")
        return next(row for row in rows if row["name"] == name and not row["home"])

    def parts(self, seat: str) -> list[dict[str, Any]]:
        return [row for row in self.tegctl(seat, "agents") if row["home"] and row["life"] != "ended"]

    def submit(self, home: str, name: str, units: int, more: str = "", pause_ms: int = 200) -> None:
        """Work that can save itself, of an ordinary user."""
        self[home].run(
            f"cd / && sudo -u vagrant tegctl run --detach --hook --name {name} {more} -- "
            f"{SPIN} --units {units} --pause-ms {pause_ms}"
        )

    def log(self, home: str, name: str) -> list[str]:
        return self[home].run(f"tegctl logs {name}").splitlines()

    def drain(self, host: str, on: bool = True) -> None:
        self["control"].run(f"tegctl {'drain' if on else 'undrain'} {host}")

    def until(self, condition: Callable[[], Any], limit_s: float, what: str) -> Any:
        return self["control"].until(condition, limit_s, what, 0.5)

    def conserved(self) -> bool:
        """Whether the books add up, by the live ledger and by replay."""
        said = json.loads(self["control"].run("tegctl -o json verify", limit_s=240))
        verified = said.get("items", said)
        return bool(verified["conserved"]) and verified["replay_hash_equal"] is not False


def last_line(units: int) -> str:
    digest = ""
    for number in range(units):
        digest = unit(digest, number)
    return f"spin: {units} units, digest {digest[:16]}"


def pause(seconds: float) -> None:
    time.sleep(seconds)
