"""Shells that programs share: MQTT, the built-in broker, control sockets, notification, the system clock."""
