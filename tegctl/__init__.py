"""The operators' command line. Speaks only the contract in tegcore.wire, through control sockets."""
