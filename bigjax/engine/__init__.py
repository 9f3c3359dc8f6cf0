"""From a checked config to compiled functions: state, step, optimizer, mesh."""
