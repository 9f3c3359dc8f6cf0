"""Tables: a class or a number for each row."""
