"""Packing of a trace's requests onto hosts, one at a time: trace, hosts as arrays, protocol of the study."""
