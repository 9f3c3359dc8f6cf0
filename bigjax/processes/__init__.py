"""Several processes: joining, comparing, noticing that one is gone."""
