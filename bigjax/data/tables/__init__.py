"""Tables: from files with a row a line to arrays of numbers, categories and targets."""
