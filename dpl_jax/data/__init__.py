"""Data: where images and labels come from, which of them are used, and how they become arrays."""
