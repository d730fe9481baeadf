"""The airlock's second rung: processes dumped to disk and restored by CRIU, in a program of its own."""
