"""Settings: their values and types, the file, overrides."""
