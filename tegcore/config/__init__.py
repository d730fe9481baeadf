"""Settings: one table a program feeds file keys, flags, help and docs."""
