"""The matching engine of one zone: accounts, book, clearing, leases, and the journal that replays them."""
