// A thermal zone and a power meter whose readings the host sets from outside, through pc-testdev's scratch word at port 0xE0:
// high half: tenths of a watt, low half: tenths of a kelvin; nothing set: 45.0 C and 90.0 W. At 125 C the guest powers off.
DefinitionBlock ("", "SSDT", 2, "TEG", "TEGSENS", 1) {
  Scope (\_SB) {
    OperationRegion (TST0, SystemIO, 0xE0, 4)
    Field (TST0, DWordAcc, NoLock, Preserve) { RAW, 32 }
    Device (PMT0) {
      Name (_HID, "ACPI000D")
      Name (_UID, Zero)
      Method (_STA) { Return (0x0F) }
      Name (_PMD, Package (0) {})
      Name (_PMC, Package (14) { 1, 0, 0, 100000, 1000, 1000, 1000, 0, 0, 0, 0, "TEG", "0", "node" })
      Name (_GAI, 1000)
      Method (_PAI, 1) { Return (0) }
      Method (_PMM) {
        Local0 = RAW >> 16
        If (Local0 == 0) { Local0 = 900 }
        Return (Local0 * 100)
      }
    }
    ThermalZone (TEGZ) {
      Method (_TMP) {
        Local0 = RAW & 0xFFFF
        If (Local0 == 0) { Local0 = 3182 }
        Return (Local0)
      }
      Method (_CRT) { Return (3982) }
      Method (_HOT) { Return (3882) }
      Name (_TZP, 0)
    }
  }
}
