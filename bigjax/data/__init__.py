"""From files to rows by number."""
