"""The journal: record batches on disk, recovery, audit."""
