"""The order book: one contract, a clear reference, and what proves them equal."""
