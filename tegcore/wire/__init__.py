"""The contract: fixed-size records, typed messages, topics, signatures, and sessions that survive any loss."""
