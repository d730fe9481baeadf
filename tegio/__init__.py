"""Shells shared by the programs: MQTT transport, the built-in broker, control sockets, notification, the system clock."""
