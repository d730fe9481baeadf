"""Laws of the market quoted on both sides: prices, friction, memory, stride."""
