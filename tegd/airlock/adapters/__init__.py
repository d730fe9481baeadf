"""The airlock's shells: its journal on disk, processes, their containment, the socket, what the host can do."""
